"""One process of test_exactness.py: code the images of a folder in this process's setting.

    python exactness_worker.py FOLDER numpy|cpu|cuda COMPUTE_BATCH [--write] [--numba]

FOLDER holds for each of `MODELS` a checkpoint, `images.npy`, and after a run with --write `message` and `layout.json`.
Prints JSON: hashes of what was coded, whether the folder's message decoded to its images, and hashes of plain float
arithmetic, which may differ. A device instead of numpy means torch tensors.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from bbcompress.ans import Message
from bbcompress.codecs import direct
from bbcompress.codecs.bitsback import BitsBack
from bbcompress.codecs.direct import DirectCodec
from bbcompress.codecs.group import Layout, decode_group, encode_group
from bbcompress.codecs.refinement import refinements
from bbcompress.exact.backend import NumpyBackend, TorchBackend
from bbcompress.exact.distributions import LIKELIHOODS
from bbcompress.models import resnet
from bbcompress.models.checkpoint import load
from bbcompress.models.strips import Canvas, Strips
from bbcompress.models.zoo import model_of

STEPS, RATE, LANES, CONTEXT = 3, 20_000, 3, b"exactness"
LOCAL, RESNET = "local", "resnet"
MODELS = (*LIKELIHOODS, LOCAL, RESNET)
SEARCH_STEPS = 8
"""Of direct coding by gradients: fewer than it takes, to save time."""


def backend_of(device: str) -> NumpyBackend | TorchBackend:
    return NumpyBackend() if device == "numpy" else TorchBackend(device)


def digest(*arrays: Any) -> str:
    """Short hash of the arrays' bytes."""
    key = hashlib.sha256()
    for array in arrays:
        key.update(np.ascontiguousarray(array).tobytes())
    return key.hexdigest()[:16]


def states(folder: Path, device: str, compute_batch: int, x: Any) -> str:
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
        rows = backend.numpy(product) + 0.0  # a new array, without signs of zeros
        found.setdefault((number, layer), []).append(rows.reshape(-1, rows.shape[-1]))
        return product

    vae = model_of(load(folder), backend)
    backend.matmul = recording  # type: ignore[method-assign]
    for start in range(0, len(x), compute_batch):
        number = -1  # of the step whose products are recorded
        for number, step in enumerate(refinements(vae, x[start : start + compute_batch], "rha", STEPS, RATE)):
            for name, part in zip(("mu", "rho"), step, strict=True):
                found.setdefault((number, name), []).append(backend.numpy(part))
    return digest(*map(np.concatenate, found.values()))


def units(codec: BitsBack, images: Any) -> Any:
    """What the codec takes: images, or their strips."""
    tile = codec.vae.weights.tile
    return images if tile is None else Strips.all_of(Canvas.of(images, tile))


def code(folder: Path, device: str, compute_batch: int, write: bool) -> dict[str, Any]:
    """Encode all images and decode the folder's message."""
    codec = BitsBack(model_of(load(folder), backend_of(device)), "rha", STEPS, RATE, compute_batch)
    images = np.load(folder / "images.npy")
    x = units(codec, images)
    empty = units(codec, np.zeros_like(images))
    layout, message = encode_group(codec, x, LANES, CONTEXT)
    data = message.to_bytes()
    if write:
        (folder / "message").write_bytes(data)
        (folder / "layout.json").write_text(json.dumps([layout.direct, layout.batches]))
    first, batches = json.loads((folder / "layout.json").read_text())
    stored = Message.from_bytes((folder / "message").read_bytes(), LANES)
    strips = empty if isinstance(empty, Strips) else None
    decoded = decode_group(codec, Layout(LANES, first, tuple(batches)), stored, CONTEXT, strips)
    found = decoded.canvas.images if isinstance(decoded, Strips) else decoded
    return {
        "message": hashlib.sha256(data).hexdigest(),
        "size": len(data),
        "layout": [layout.direct, *layout.batches],
        "direct": digest(*(DirectCodec(codec.vae).choose(x[i : i + 1]) for i in (len(x) - 2, len(x) - 1))),
        "states": states(folder, device, compute_batch, x),
        "decoded": bool(np.array_equal(found, images)),
    }


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
        return digest(*(tensor.cpu().numpy() for tensor in tensors))

    x, w = (torch.from_numpy(array).to(device) for array in operands())
    x32, w32 = x.float(), w.float()
    products = zip(batched_products(x, w).items(), batched_products(x32, w32).items(), strict=True)
    controls = {f"product {n}": hashed(*double, *float32) for (n, double), (_, float32) in products}
    controls["elementwise"] = hashed(x.sigmoid(), x32.sigmoid(), (x32 * w32[:40]).exp())
    images, kernels = x32.view(1, 40, 28, 28), w32.flatten()[: 16 * 40 * 9].view(16, 40, 3, 3)
    controls["convolution"] = hashed(torch.nn.functional.conv2d(images, kernels))
    controls["sum"] = hashed((x[:, None] * w[None]).sum(), (x32[:, None] * w32[None]).sum())
    return controls


def main() -> None:
    folder, device, compute_batch, *flags = sys.argv[1:]
    direct.GRADIENT_STEPS = SEARCH_STEPS
    resnet.TILES = -(-int(compute_batch) // 8)  # its own compute batch: 1, 5 and all of the tiles
    result: dict[str, Any] = {
        name: code(Path(folder) / name, device, int(compute_batch), "--write" in flags) for name in MODELS
    }
    controls = numpy_controls() if device == "numpy" else torch_controls(device)
    if "--numba" in flags:
        controls["numba"] = numba_control()
    json.dump({"coded": result, "controls": controls, "torch": "torch" in sys.modules}, sys.stdout)


if __name__ == "__main__":
    main()
