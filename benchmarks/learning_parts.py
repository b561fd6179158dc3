"""Parts of learning.py: what exact arithmetic costs, what K and the encoders add, and archives of small images."""

from __future__ import annotations

import gzip
import io
import time
from collections.abc import Sequence
from math import log
from pathlib import Path
from typing import Any

import numpy as np

from bbcompress.codecs.groups import decode_images, encode_images
from bbcompress.codecs.learned import RATE, UNIT
from bbcompress.codecs.settings import CodingSettings
from bbcompress.exact.arithmetic import exact_arithmetic
from bbcompress.exact.distributions import CoarseBins
from bbcompress.exact.tables import VALUE_BITS
from bbcompress.images.image import PixelImage, from_array
from bbcompress.images.kinds import COLOUR
from bbcompress.limits import ENCODERS
from bbcompress.models.learning_network import units_of
from bbcompress.models.local import ExactLocalVAE
from bbcompress.models.strips import Canvas, Strips
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.options import Options, open_models
from bbcompress.pipeline.reader import Reader

Photographs = list[tuple[str, PixelImage]]

CROPS = 3
FLOAT_SIDE, STEPS_SIDE = 160, 192
"""Sides of the crops, in pixels."""
SMALL = 1000
"""Images of an archive of small ones."""
LARGE_MODEL_IMAGES = 100
"""The same for `cifar10-resnet`, which takes long."""


def crops(images: Photographs, side: int) -> Photographs:
    """The middles of a few photographs."""
    found = []
    for name, image in images[:: len(images) // CROPS][:CROPS]:
        top, left = (image.height - side) // 2, (image.width - side) // 2
        found.append((name, from_array(np.ascontiguousarray(image.pixels[top : top + side, left : left + side]))))
    return found


def photo_model() -> ExactLocalVAE:
    """The model of photographs."""
    models = open_models("photo", "cpu")
    vae = models.model(models.zoo.chosen[0])
    assert isinstance(vae, ExactLocalVAE)
    return vae


# Exact arithmetic against float32


def float32(images: Photographs) -> dict[str, Any]:
    """Code lengths of crops by the exact learning, and by the same learning in float32: the same units in the same
    order, features, Adam and rate, from the checkpoint's weights as real numbers. Without the bits of z, which are the
    same."""
    vae = photo_model()
    rows: list[dict[str, Any]] = []
    for name, image in crops(images, FLOAT_SIDE):
        x = Strips.all_of(Canvas.of(image.pixels[None], vae.weights.tile))
        grid = CoarseBins(vae.weights.direct_bits)
        with exact_arithmetic():
            mean = vae.backend.numpy(vae.encode(x, ENCODERS[0])[0])
            features = vae.features(grid.values(grid.nearest(mean * 2.0**VALUE_BITS)))
            coder = vae.learning_coder(vae.parameters(RATE), UNIT)
            exact = float(coder.lengths(features, x).sum()) / 2.0**30
            frozen = float(vae.learning_coder(vae.parameters(RATE), UNIT, 0).lengths(features, x).sum()) / 2.0**30
        replica = float32_bits(vae, features, x)
        row: dict[str, Any] = {"name": name, "pixels": image.width * image.height, "frozen": frozen}
        rows.append(row | {"exact": exact, "float32": replica, "loss": exact / replica - 1})
        print(rows[-1], flush=True)
    loss = sum(row["exact"] for row in rows) / sum(row["float32"] for row in rows) - 1
    return {"unit": "bits", "loss": loss, "crops": rows}


def float32_bits(vae: ExactLocalVAE, features: Any, x: Strips) -> float:
    """Bits of the pixels of x under the pixel network as it learns in float32."""
    import torch

    from bbcompress.training.likelihoods import LogisticMixture

    torch.set_num_threads(1)
    weights = vae.weights.pixel_network
    layers = [*weights.trunk, weights.heads, *weights.outputs]

    def parameter(integers: Any, bits: int) -> Any:
        return torch.nn.Parameter(torch.from_numpy(np.ldexp(integers.astype(np.float64), -bits)).float())

    matrices = [parameter(layer.weight, layer.weight_bits) for layer in layers]
    biases = [parameter(layer.bias, layer.weight_bits + layer.in_bits) for layer in layers]
    adam = torch.optim.Adam([*matrices, *biases], lr=RATE * 1e-6, betas=(0.9, 0.999), eps=1e-8)
    trunk, channels = len(weights.trunk), weights.channels
    width = len(weights.heads.weight) // channels
    grid = 2.0**-weights.heads.in_bits
    wave, bits = x.wavefront(vae.weights.cell), 0.0
    ends = units_of(wave.bounds, UNIT)
    for begin, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
        indices = wave.indices[begin:end]
        inputs, references = vae.network.context(x.canvas, indices, features, wave.cells[begin:end])
        levels = x.canvas.levels_at(indices)
        hidden = torch.from_numpy(inputs * np.float32(2.0 ** -weights.trunk[0].in_bits))
        for number in range(trunk):
            hidden = torch.relu(hidden @ matrices[number].T + biases[number])
        earlier = torch.from_numpy(((levels - references) * grid).T.astype(np.float32))
        loss: Any = 0.0
        for channel in range(channels):
            rows = slice(channel * width, (channel + 1) * width)
            seen = torch.cat([hidden, earlier[:, :channel]], dim=1)
            columns = hidden.shape[1] + channel
            head = torch.relu(seen @ matrices[trunk][rows, :columns].T + biases[trunk][rows])
            of_head = torch.cat([head, earlier[:, :channel]], dim=1)
            params = of_head @ matrices[trunk + 1 + channel].T + biases[trunk + 1 + channel]
            reference, level = (torch.from_numpy(part[channel]) for part in (references, levels))
            loss = loss - LogisticMixture.log_prob(params, reference, level).sum()
        bits += float(loss.detach().double()) / log(2)
        adam.zero_grad()
        (loss / (end - begin)).backward()
        adam.step()
    return bits


# K steps and encoders


def steps(images: Photographs) -> dict[str, Any]:
    """Bytes of the files of crops whose model learns, by K and encoder, each read back."""
    models, rows = open_models("photo", "cpu"), []
    vae = models.model(models.zoo.chosen[0])
    for encoder in ENCODERS:
        for k in (0, 4, 10):
            sizes, start = [], time.process_time()
            for name, image in crops(images, STEPS_SIDE):
                group = encode_images(vae, [image], COLOUR, CodingSettings(encoder, k, learn=True))
                if decode_images(group, models) != [image]:
                    raise SystemExit(f"{name} does not come back")
                sizes.append(len(group.header.encode_group()) + len(group.payload))
            row = {"encoder": encoder, "K": k, "bytes": sum(sizes), "sizes": sizes}
            rows.append(row | {"seconds": round(time.process_time() - start, 1)})
            print(rows[-1], flush=True)
    return {"crops": [name for name, _ in crops(images, STEPS_SIDE)], "side": STEPS_SIDE, "ways": rows}


# Archives of small images


def digits(data: Path) -> Any:
    """MNIST's test images, uint8 (N, 28, 28)."""
    file = gzip.decompress((data / "mnist" / "t10k-images-idx3-ubyte.gz").read_bytes())
    return np.frombuffer(file[16:], np.uint8).reshape(-1, 28, 28)


def colours(data: Path) -> Any:
    """CIFAR-10's test images, uint8 (N, 32, 32, 3)."""
    file = np.frombuffer((data / "cifar-10-batches-bin" / "test_batch.bin").read_bytes(), np.uint8)
    return file.reshape(-1, 3073)[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)


def small(data: Path) -> dict[str, Any]:
    """Bytes of archives of the first test images without learning, by default, and with `--learn`; each is read
    back. None for the model means that bbc chooses."""
    grey, binary = digits(data)[:SMALL], np.where(digits(data)[:SMALL] > 127, 255, 0).astype(np.uint8)
    rgb = colours(data)[:SMALL]
    sets: list[tuple[str, str | None, Any]] = [
        ("MNIST, binary", None, binary),
        ("MNIST, binary", "mnist-binary", binary),
        ("MNIST, binary, mirrored", "mnist-binary", binary[:, :, ::-1]),
        ("MNIST, grey", None, grey),
        ("MNIST, grey", "mnist-grey", grey),
        ("MNIST, grey, mirrored", "mnist-grey", grey[:, :, ::-1]),
        ("CIFAR-10", None, rgb),
        ("CIFAR-10", "cifar10-resnet-small", rgb),
        ("CIFAR-10", "cifar10-resnet", rgb[:LARGE_MODEL_IMAGES]),
    ]
    rows = []
    for name, model, arrays in sets:
        images = [from_array(np.ascontiguousarray(array)) for array in arrays]
        row: dict[str, Any] = {"images": name, "count": len(images), "model": model}
        for way, learn in (("frozen", False), ("default", None), ("learned", True)):
            if way == "learned" and model is None:  # each image would be a message of its own
                continue
            row[way] = archive_of(images, model, learn)
        row["default less frozen"] = row["default"]["bytes"] - row["frozen"]["bytes"]
        rows.append(row)
        print(row, flush=True)
    return {"archives": rows}


def archive_of(images: Sequence[PixelImage], model: str | None, learn: bool | None) -> dict[str, Any]:
    """Bytes of an archive, whether its groups learn, and seconds of the processor."""
    compressor, file = Compressor(Options(model=model, learn=learn, verify=False)), io.BytesIO()
    start = time.process_time()
    summary = compressor.archive([(None, image) for image in images], file)
    middle = time.process_time()
    reader = Reader(file)
    found = dict(reader.images())
    end = time.process_time()
    if [found[position] for position in range(len(images))] != list(images):
        raise SystemExit("the pixels did not come back")
    learning = sorted({str(group.get("learning", {}).get("rate", 0)) for group in reader.describe()["groups"]})
    seconds = {"compress": round(middle - start, 1), "read": round(end - middle, 1)}
    return {"bytes": summary.size, "rates of learning": learning, "seconds": seconds}
