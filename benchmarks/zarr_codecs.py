"""Chunks of arrays by the codec bbc and by other codecs of numcodecs: benchmarks/results/zarr.json.

    python benchmarks/zarr_codecs.py [--photos DIR] [--count N]

Three kinds of arrays: the middles of held-out photographs, 512 x 512 pixels, uint8; microscopy in colours and grey,
uint8, from scikit-image; stacks of magnetic resonance and a slice of tomography, uint16, from the test data of nibabel
and pydicom, whose negative levels are moved up. Of packages that are not installed the arrays are left out.

Beside bbc at its default effort and the least: Zstandard, Blosc with Zstandard and shuffled bits, and lossless JPEG XL
by imagecodecs, where it is installed. All code the same chunks in the same run, each by one thread, from memory to
memory; all chunks are read back and compared. Seconds are of the processor, after one chunk that compiles loops and
loads models; bbc's include that it decodes and compares what it writes.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from machine import environment
from numcodecs.compat import ensure_bytes

from bbcompress.images.read import read_image
from bbcompress.integrations.chunks import MOST_SAMPLES
from bbcompress.integrations.numcodecs import BBC
from bbcompress.system.threads import limit_threads

OUT = Path(__file__).resolve().parent / "results" / "zarr.json"
PACKAGES = ("bbcompress", "numpy", "numba", "numcodecs", "imagecodecs", "scikit-image", "nibabel", "pydicom")
SIDE, WARM = 512, 64
NumpyArray = np.ndarray[Any, Any]
Arrays = Iterator[tuple[str, NumpyArray, tuple[int, ...]]]
"""Names, values and shapes of chunks."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, default=Path("photos/val"))
    parser.add_argument("--count", type=int, default=6)
    args = parser.parse_args()
    start = environment(PACKAGES)
    limit_threads(1)
    kinds = {"photographs": photographs(args.photos, args.count), "microscopy": microscopy(), "stacks": stacks()}
    found = {kind: [measured(*array) for array in arrays] for kind, arrays in kinds.items()}
    OUT.write_text(json.dumps({"environment": start, "kinds": found}, indent=1) + "\n")
    print(f"written: {OUT}")


def photographs(folder: Path, count: int) -> Arrays:
    paths = sorted(folder.iterdir())
    for path in paths[:: max(1, len(paths) // count)][:count]:
        pixels = read_image(path).pixels[:, :, :3]
        top, left = ((length - SIDE) // 2 for length in pixels.shape[:2])
        yield path.stem, np.ascontiguousarray(pixels[top : top + SIDE, left : left + SIDE]), (SIDE, SIDE, 3)


def package(name: str) -> Path | None:
    """The folder of an installed package."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        print(f"{name} is not installed, whose images are left out")
        return None
    return Path(spec.origin).parent


def microscopy() -> Arrays:
    """Stained tissue, and a cell."""
    if (folder := package("skimage")) is not None:
        yield "ihc", read_image(folder / "data" / "ihc.png").pixels[:, :, :3], (SIDE, SIDE, 3)
        yield "cell", read_image(folder / "data" / "cell.png").pixels, (330, 550)


def stacks() -> Arrays:
    """(z, y, x), a chunk each plane."""
    if (folder := package("nibabel")) is not None:
        import nibabel

        for name in ("example4d.nii.gz", "phantom_EPI_asc_CLEAR_2_1.PAR"):
            volume = np.asarray(nibabel.load(folder / "tests" / "data" / name).dataobj.get_unscaled())
            yield name, *planes(volume[..., 0].transpose(2, 1, 0))
    if (folder := package("pydicom")) is not None:
        import pydicom

        scan = pydicom.dcmread(folder / "data" / "test_files" / "693_J2KI.dcm")
        yield "693_J2KI.dcm", *planes(scan.pixel_array[None])


def planes(volume: NumpyArray) -> tuple[NumpyArray, tuple[int, ...]]:
    levels = volume.astype(np.int64) - min(0, int(volume.min()))
    return levels.astype(np.uint16), (1, *volume.shape[1:])


def codecs() -> Iterator[tuple[str, Any]]:
    from numcodecs import Blosc, Zstd, blosc

    yield "bbc", BBC()
    yield "bbc effort 1", BBC(effort=1)
    blosc.set_nthreads(1)
    yield "Blosc Zstandard 9, shuffled bits", Blosc("zstd", 9, Blosc.BITSHUFFLE)
    yield "Zstandard 19", Zstd(19)
    if importlib.util.find_spec("imagecodecs"):
        from imagecodecs.numcodecs import Jpegxl

        for effort in (7, 9):
            yield f"JPEG XL {effort}", Jpegxl(lossless=True, effort=effort, numthreads=1)


def measured(name: str, array: NumpyArray, shape: tuple[int, ...]) -> dict[str, Any]:
    """Bytes of the array and of its chunks, and seconds to write and to read them, by the name of the codec."""
    starts = product(*(range(0, length, side) for length, side in zip(array.shape, shape, strict=True)))
    parts = [tuple(slice(first, first + side) for first, side in zip(start, shape, strict=True)) for start in starts]
    chunks = [np.ascontiguousarray(array[part]) for part in parts]
    small = np.ascontiguousarray(chunks[0][:WARM, :WARM] if shape[-1] <= MOST_SAMPLES else chunks[0][..., :WARM, :WARM])
    sizes, seconds = {}, {}
    for label, codec in codecs():
        codec.decode(codec.encode(small))
        start = time.process_time()
        files = [codec.encode(chunk) for chunk in chunks]
        middle = time.process_time()
        back = [codec.decode(data) for data in files]
        seconds[label] = [round(middle - start, 3), round(time.process_time() - middle, 3)]
        for values, chunk in zip(back, chunks, strict=True):
            if ensure_bytes(values) != chunk.tobytes():
                raise SystemExit(f"{label} does not bring {name} back")
        sizes[label] = sum(map(len, files))
    row = {"name": name, "shape": array.shape, "chunks": shape, "dtype": array.dtype.name, "bytes": array.nbytes}
    print(name, row["shape"], sizes, seconds, flush=True)
    return {**row, "sizes": sizes, "seconds": seconds}


if __name__ == "__main__":
    main()
