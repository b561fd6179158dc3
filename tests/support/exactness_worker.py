"""One process of test_exactness.py: code the images of a folder in this process's setting.

    python exactness_worker.py FOLDER numpy|cpu|cuda COMPUTE_BATCH [--write] [--numba] --around SETTING...

FOLDER holds for each of `MODELS` a checkpoint, `images.npy`, and after a run with --write `message` and `layout.json`.
Prints JSON, a list with an answer for each SETTING: hashes of what was coded, whether the folder's message decoded to
its images, and hashes of plain float arithmetic, which may differ. A device instead of numpy means torch tensors. A
SETTING is what the program around sets, in this process, once the models are there (`AROUND`). Where there are several,
each has a fork of this process, which has imported what they need and has computed nothing.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib
import json
import os
import platform
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from starts_for_tests import beginning

from bbcompress.archive.header import GroupHeader, Learning
from bbcompress.codecs import direct
from bbcompress.codecs.between import encode_between
from bbcompress.codecs.bitsback import BitsBack, codec_of
from bbcompress.codecs.direct import DirectCodec
from bbcompress.codecs.fallback.codecs import CODECS, DEEP
from bbcompress.codecs.fallback.items import decode_item
from bbcompress.codecs.group import Layout, decode_group, encode_group
from bbcompress.codecs.learned import Start, decode_learned, encode_learned
from bbcompress.codecs.refinement import refinements
from bbcompress.codecs.settings import CodingSettings
from bbcompress.coder import kernel_cache
from bbcompress.coder.ans import Message
from bbcompress.exact.arithmetic import exact_arithmetic, is_usual
from bbcompress.exact.backend import NumpyBackend, TorchBackend
from bbcompress.exact.distributions import LIKELIHOODS
from bbcompress.exact.learning import Parameters
from bbcompress.images.image import from_array
from bbcompress.models import resnet
from bbcompress.models.checkpoint import load
from bbcompress.models.local import ExactLocalVAE
from bbcompress.models.registry import model_of
from bbcompress.models.strips import Canvas, Strips

STEPS, RATE, LANES, CONTEXT = 3, 20_000, 3, b"exactness"
LEARNING = Learning(2_000, 16)
LEARNED = 4
"""Images that are learned from: the first, and some that begin in each of two ways."""
LOCAL, RESNET = "local", "resnet"
MODELS = (*LIKELIHOODS, LOCAL, RESNET)
SEARCH_STEPS = 8
"""Of direct coding by gradients: fewer than it takes, to save time."""
INTERPRETED = 2_000
"""Symbols of a kernel that Python runs: half of the usual, to save time. Each kernel is still run in both ways that it
was; with 1000 mixture_intervals is never run compiled, as its callers are before."""


def backend_of(device: str) -> NumpyBackend | TorchBackend:
    return NumpyBackend() if device == "numpy" else TorchBackend(device)


def processor(round_to: int | None = None, flush: bool = False) -> Iterator[None]:
    """The processor's arithmetic as a foreign library may leave it: another rounding mode, by the number of C's
    <fenv.h>, or denormal numbers taken for zero, read and written."""
    library = ctypes.CDLL(None)
    before, changed = ctypes.create_string_buffer(256), ctypes.create_string_buffer(256)
    library.fegetenv(before)
    try:
        if round_to is not None and library.fesetround(round_to):
            raise RuntimeError("there is no such rounding mode")
        if flush:
            library.fegetenv(changed)
            changed[MXCSR] = bytes([changed[MXCSR][0] | 0x40])
            changed[MXCSR + 1] = bytes([changed[MXCSR + 1][0] | 0x80])
            library.fesetenv(changed)
        yield
    finally:
        library.fesetenv(before)


def buffer_size() -> Iterator[None]:
    """numpy's ufuncs take what they have to cast in other pieces."""
    before = np.setbufsize(16)
    try:
        yield
    finally:
        np.setbufsize(before)


def errors_raise() -> Iterator[None]:
    """numpy raises whatever the processor's flags say."""
    with np.errstate(all="raise"):
        yield


def autocast() -> Iterator[None]:
    """torch multiplies float32 matrices in bfloat16."""
    import torch

    with torch.autocast("cpu", dtype=torch.bfloat16):
        yield


def matmul_precision() -> Iterator[None]:
    """torch may multiply float32 matrices in bfloat16, or TF32, where the processor can."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def torch_denormals() -> Iterator[None]:
    """torch has the processor take denormal numbers for zero."""
    import torch

    if not torch.set_flush_denormal(True):
        raise RuntimeError("this processor cannot")
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def torch_defaults() -> Iterator[None]:
    """Other defaults: type, device, gradients, and what is deterministic."""
    import torch

    torch.set_default_dtype(torch.float16)
    torch.use_deterministic_algorithms(True)
    try:
        with torch.device("meta"), torch.inference_mode():
            yield
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_default_dtype(torch.float32)


_X86 = platform.machine().lower() in ("x86_64", "amd64")
ROUND_UPWARDS, ROUND_DOWNWARDS, ROUND_TO_ZERO = (0x800, 0x400, 0xC00) if _X86 else (0x400000, 0x800000, 0xC00000)
"""Of <fenv.h>, on x86-64 and ARM."""

MXCSR = 28
"""Where the x86-64's control register of floating-point arithmetic lies in glibc's `fenv_t`."""

AROUND: dict[str, Callable[[], Iterator[None]]] = {
    "nothing": lambda: iter((None,)),
    "upwards": lambda: processor(ROUND_UPWARDS),
    "downwards": lambda: processor(ROUND_DOWNWARDS),
    "towards zero": lambda: processor(ROUND_TO_ZERO),
    "no denormals": lambda: processor(flush=True),
    "buffer size": buffer_size,
    "errors raise": errors_raise,
    "autocast": autocast,
    "matmul precision": matmul_precision,
    "torch denormals": torch_denormals,
    "torch defaults": torch_defaults,
}


def settings_now() -> dict[str, Any]:
    """What a program around can have set, as it shows: the processor's arithmetic, numpy's and torch's own."""
    tiny, one, half = (np.array([number]) for number in (2.0**-1022, 1.0, 1.5 * 2.0**-53))
    with np.errstate(all="ignore"):
        shown = [tiny * 0.5, one + half, -one - half, np.array([5e-324]) * 2.0**1000]
    found: dict[str, Any] = {"numbers": digest(*shown), "errstate": np.geterr(), "bufsize": np.getbufsize()}
    if torch := sys.modules.get("torch"):
        found["torch"] = [
            torch.is_autocast_enabled("cpu"), torch.get_float32_matmul_precision(), str(torch.get_default_dtype()),
            torch.is_inference_mode_enabled(), torch.are_deterministic_algorithms_enabled(),
            str(torch.get_default_device()),
        ]  # fmt: skip
    return found


def digest(*arrays: Any) -> str:
    """Short hash of the arrays' bytes."""
    key = hashlib.sha256()
    for array in arrays:
        key.update(np.ascontiguousarray(array).tobytes())
    return key.hexdigest()[:16]


def states(folder: Path, device: str, compute_batch: int, x: Any, around: str) -> str:
    """Hash of every matrix product before it is rounded, and of mu and rho of every step.

    What is coded has been rounded: a last bit that differs would hardly ever show there in a few images.
    """
    backend = backend_of(device)
    found: dict[Any, list[Any]] = {}
    plain = backend.matmul
    number = -1

    def recording(left: Any, right: Any) -> Any:
        """By step and layer, as a batch may go through a layer in parts; in the order of images everywhere."""
        product = plain(left, right)
        if isinstance(right, np.ndarray):
            layer = right.__array_interface__["data"][0], right.strides
        else:
            layer = right.data_ptr(), right.stride()
        rows = backend.numpy(product).astype(np.float64) + 0.0  # without signs of zeros; of one type on all backends
        found.setdefault((number, layer), []).append(rows.reshape(-1, rows.shape[-1]))
        return product

    vae = model_of(load(folder), backend)
    backend.matmul = recording  # type: ignore[method-assign]
    with contextmanager(AROUND[around])(), exact_arithmetic():
        for start in range(0, len(x), compute_batch):
            number = -1  # of the step whose products are recorded
            for number, step in enumerate(refinements(vae, x[start : start + compute_batch], "rha", STEPS, RATE)):
                for name, part in zip(("mu", "rho"), step, strict=True):
                    found.setdefault((number, name), []).append(backend.numpy(part))
    return digest(*map(np.concatenate, found.values()))


def strips_of(codec: BitsBack, images: Any) -> Strips:
    """What the codec takes: the strips of images (N, H, W, C)."""
    return Strips.all_of(Canvas.of(images, codec.model.weights.tile))


def code(folder: Path, device: str, compute_batch: int, write: bool, around: str) -> dict[str, Any]:
    """Encode all images and decode the folder's message, the program around having set what `around` says."""
    codec = BitsBack(model_of(load(folder), backend_of(device)), "rha", STEPS, RATE, compute_batch)
    images = np.load(folder / "images.npy")
    x, decoded = strips_of(codec, images), strips_of(codec, np.zeros_like(images))
    with contextmanager(AROUND[around])():
        before = settings_now()
        layout, message = encode_group(codec, x, LANES, CONTEXT)
        encoded = settings_now()
    data = message.to_bytes()
    if write:
        (folder / "message").write_bytes(data)
        (folder / "layout.json").write_text(json.dumps([layout.direct, layout.batches]))
    first, batches = json.loads((folder / "layout.json").read_text())
    stored = Message.from_bytes((folder / "message").read_bytes(), LANES)
    with contextmanager(AROUND[around])():
        decode_group(codec, Layout(LANES, first, tuple(batches)), stored, CONTEXT, decoded)
        kept = before == encoded == settings_now()
    return {
        "message": hashlib.sha256(data).hexdigest(),
        "size": len(data),
        "layout": [layout.direct, *layout.batches],
        "direct": digest(*(DirectCodec(codec.model).choose(x[i : i + 1]) for i in (len(x) - 2, len(x) - 1))),
        "states": states(folder, device, compute_batch, x, around),
        "decoded": bool(np.array_equal(decoded.canvas.images, images)),
        "kept": kept,
    }


def learned(folder: Path, device: str, compute_batch: int, write: bool, around: str) -> dict[str, Any]:
    """Encode the local model's images as it learns from them, and decode the folder's payload."""
    model = model_of(load(folder / LOCAL), backend_of(device))
    assert isinstance(model, ExactLocalVAE)
    images = list(np.load(folder / LOCAL / "images.npy"))[:LEARNED]
    header = GroupHeader(count=len(images), model=model.weights.id[:4], learning=LEARNING)
    settings = CodingSettings(k=STEPS, learning_rate=RATE, compute_batch=compute_batch)
    x = Strips.all_of(Canvas.of(np.stack(images), model.weights.tile))
    usual = []
    halfway_to = Parameters.halfway_to

    def noted(one: Parameters, other: Parameters) -> Parameters:
        usual.append(is_usual())
        return halfway_to(one, other)

    with contextmanager(AROUND[around])(), patch.object(Parameters, "halfway_to", noted):
        before = settings_now()
        with beginning([Start.HALFWAY, Start.CHECKPOINT]):
            group = encode_learned(model, images, header, settings)
        if write:
            (folder / LOCAL / "learned").write_bytes(group.payload)
        stored = replace(group, payload=(folder / LOCAL / "learned").read_bytes())
        decoded = decode_learned(model, stored)
        parameters = model.parameters(LEARNING.rate)
        with exact_arithmetic():
            z = np.zeros((x.row_count, model.weights.latents), np.int64)
            length = model.learning_coder(parameters, LEARNING.unit).lengths(model.features(z), x).tolist()
        kept = before == settings_now()
    return {
        "payload": hashlib.sha256(group.payload).hexdigest(),
        "halfway": usual,
        "decoded": all(np.array_equal(found, image) for found, image in zip(decoded, images, strict=True)),
        "length": length,
        "weights": digest(parameters._master, parameters._first, parameters._second, *parameters.exact),
        "kept": kept,
    }


def learned_between(folder: Path, device: str, compute_batch: int, write: bool, around: str) -> dict[str, Any]:
    """The same of models that learn between batches: images of two levels, and of the residual VAE."""
    found: dict[str, Any] = {"decoded": True, "kept": True, "deep": deep(around)}
    for name in ("bernoulli", RESNET):
        model = model_of(load(folder / name), backend_of(device))
        x = Strips.all_of(Canvas.of(np.load(folder / name / "images.npy"), model.weights.tile))
        header = GroupHeader(model=model.weights.id[:4], k=1, learning=Learning(2_000, 5, batches=True))
        cuts = [len(x) * part // 4 for part in range(1, 5)]
        plan = Layout(LANES, cuts[0], tuple(b - a for a, b in pairwise(cuts)))
        decoded = Strips.all_of(Canvas.of(np.zeros_like(x.canvas.images), model.weights.tile))
        with contextmanager(AROUND[around])():
            before = settings_now()
            layout, message = encode_between(model, header, compute_batch, x, plan, CONTEXT)
            data = message.to_bytes()
            if write:
                (folder / name / "learned").write_bytes(data)
            stored = Message.from_bytes((folder / name / "learned").read_bytes(), LANES)
            codec = codec_of(model, header, compute_batch)
            decode_group(codec, layout, stored, CONTEXT, decoded)
            found["kept"] &= before == settings_now()
        assert codec.learning is not None
        found["decoded"] &= bool(np.array_equal(decoded.canvas.images, x.canvas.images))
        layers = codec.learning._parameters._layers
        found[name] = [
            [layout.direct, *layout.batches],
            hashlib.sha256(data).hexdigest(),
            digest(*(part for layer in layers for part in (layer._master, layer._first, layer._second))),
        ]
    return found


def deep(around: str) -> str:
    """A hash of samples of 16 bits as the fallback codes them. Raises where they do not come back."""
    y, x = np.mgrid[:40, :33]
    noise = np.random.default_rng(1).integers(0, 500, (40, 33, 3))
    image = from_array((np.stack([900 * y, 20000 - x * x, 30 * x * (y > 9)], axis=2) + noise).astype(np.uint16))
    with contextmanager(AROUND[around])():
        before = settings_now()
        item = CODECS[DEEP].encode(image)
        if decode_item(item) != image or before != settings_now():
            raise AssertionError("samples of 16 bits do not come back")
    return digest(np.frombuffer(item, np.uint8))


def operands() -> tuple[Any, Any]:
    """A batch of 40 images and a layer of 500 units that are no integers."""
    random = np.random.default_rng(0)
    return random.uniform(-1, 1, (40, 784)), random.uniform(-1, 1, (500, 784))


def batched_products(x: Any, w: Any) -> dict[str, list[Any]]:
    """The same product by batches of 1, of 37 and at once."""
    return {str(n): [x[i : i + n] @ w.T for i in range(0, 40, n)] for n in (1, 37, 40)}


def numpy_controls() -> dict[str, str]:
    """Plain float arithmetic of numpy."""
    x, w = operands()
    single = x.astype(np.float32), w.astype(np.float32)
    products = zip(batched_products(x, w).items(), batched_products(*single).items(), strict=True)
    controls = {f"product {n}": digest(*double, *float32) for (n, double), (_, float32) in products}
    pairs = (single[0][:, :-1] + 1j * single[0][:, 1:]) * (single[1][:40, :-1] + 1j * single[1][:40, 1:])
    controls["elementwise"] = digest(pairs, np.exp(x), np.exp(single[0]), np.log(np.abs(x)))
    try:
        controls["denormals"] = digest(x * 2.0**-1000 * 2.0**-60)
        controls["raised"] = "nothing"
    except FloatingPointError as error:
        controls["raised"] = str(error)
    integers = np.arange(30_000) * 7919 % 999_983
    controls["cast sum"] = digest(np.add.reduce(integers, dtype=np.float32))
    return controls


def numba_control() -> str:
    """A float product whose order numba may choose."""
    import numba

    @numba.njit(fastmath=True)
    def product(x: Any, w: Any) -> float:
        total = 0.0
        for i in range(x.size):
            total += x[i] * w[i]
        return total

    x, w = operands()
    return digest(*(product(row, w[0]) for row in x))


def torch_controls(device: str) -> dict[str, str]:
    """Plain float arithmetic of torch."""
    import torch

    def hashed(*tensors: Any) -> str:
        return digest(*(tensor.cpu().double().numpy() for tensor in tensors))  # of bfloat16 numpy knows nothing

    x, w = (torch.from_numpy(array).to(device) for array in operands())
    x32, w32 = x.float(), w.float()
    products = zip(batched_products(x, w).items(), batched_products(x32, w32).items(), strict=True)
    controls = {f"product {n}": hashed(*double, *float32) for (n, double), (_, float32) in products}
    controls["elementwise"] = hashed(x.sigmoid(), x32.sigmoid(), (x32 * w32[:40]).exp())
    images, kernels = x32.view(1, 40, 28, 28), w32.flatten()[: 16 * 40 * 9].view(16, 40, 3, 3)
    controls["convolution"] = hashed(torch.nn.functional.conv2d(images, kernels))
    controls["denormals"] = hashed(x * 2.0**-1000 * 2.0**-60)
    controls["defaults"] = str(((torch.arange(3, device=device) * 0.5).dtype, torch.zeros(1).device.type))
    controls["sum"] = hashed((x[:, None] * w[None]).sum(), (x32[:, None] * w32[None]).sum())
    return controls


def answer(folder: Path, device: str, compute_batch: int, flags: Sequence[str], around: str) -> dict[str, Any]:
    """What is printed of a setting."""
    write = "--write" in flags
    result = {name: code(folder / name, device, compute_batch, write, around) for name in MODELS}
    between = learned_between(folder, device, compute_batch, write, around)
    of_learning = learned(folder, device, compute_batch, write, around)
    with contextmanager(AROUND[around])():
        controls = numpy_controls() if device == "numpy" else torch_controls(device)
    if "--numba" in flags:
        controls["numba"] = numba_control()
    return {
        "coded": result,
        "learned": of_learning,
        "between": between,
        "controls": controls,
        "torch": "torch" in sys.modules,
    }


def forked(work: Callable[[], Any]) -> Any:
    """What a fork of this process finds. Raises RuntimeError where it fails, and prints why."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            found = json.dumps(work())
            with open(writing, "w") as pipe:
                pipe.write(found)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    os.close(writing)
    with open(reading) as pipe:
        found = pipe.read()
    if os.waitpid(child, 0)[1]:
        raise RuntimeError("a fork has failed")
    return json.loads(found)


def main() -> None:
    folder, device, compute_batch, *flags = sys.argv[1:]
    settings = flags[flags.index("--around") + 1 :]
    direct.GRADIENT_STEPS = SEARCH_STEPS
    kernel_cache.MAX_INTERPRETED = INTERPRETED
    resnet.TILES = -(-int(compute_batch) // 8)  # its own compute batch: 1, 5 and all of the tiles
    works = [partial(answer, Path(folder), device, int(compute_batch), flags, around) for around in settings]
    if len(works) == 1:
        answers = [works[0]()]
    else:
        kernel_cache.prepare()  # imports numba
        if device != "numpy":
            importlib.import_module("torch")
        answers = [forked(work) for work in works]
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
