"""Whole files of images of 16 bits and of photographs with alpha, beside others: benchmarks/results/deep.json.

    python benchmarks/deep.py grey
    python benchmarks/deep.py alpha DIR [--count N] [--side N]

`grey`: scientific images of 16 bits, grey, from the test data of the installed packages pydicom, nibabel and astropy:
tomography, magnetic resonance, the sky. Each set of pixels counts once; images of fewer than 4000 pixels or 50 levels
are left out. `alpha`: the middles of photographs of a folder, each with a soft alpha: every other one a blurred shape
whose outside is made black, the others by how bright the photograph is, with all colours under alpha 0 kept.

bbc at the default effort, PNG, zstd -19 of the pixels, lossless WebP (8 bits) and JPEG XL, as far as they are
installed, code the same pixels in the same run. Sizes are bytes of whole files, times are seconds of the processor.
All files are read back and compared.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from machine import environment
from PIL import Image, ImageDraw, ImageFilter
from whole_files import measure

from bbcompress.bench.peers import Peer, peers
from bbcompress.images.image import PixelImage, from_array
from bbcompress.images.read import read_image
from bbcompress.images.write import write_image
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.options import Options

OUT = Path(__file__).resolve().parent / "results" / "deep.json"
LEAST_PIXELS, LEAST_LEVELS = 4000, 50
MEDICAL = ("example4d.nii.gz", "phantom_EPI_asc_CLEAR_2_1.PAR")
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("grey", "alpha"))
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--count", type=int, default=6)
    parser.add_argument("--side", type=int, default=256)
    args = parser.parse_args()
    if args.part == "alpha" and args.folder is None:
        parser.error("alpha needs a folder of photographs")
    results: dict[str, Any] = json.loads(OUT.read_text()) if OUT.exists() else {}
    start = environment((*("bbcompress", "numpy", "numba", "pillow", "imagecodecs"), *SOURCES, "zstandard"))
    found = distinct(scientific()) if args.part == "grey" else with_alpha(args.folder, args.count, args.side)
    rows = [measured(name, image) for name, image in found]
    results[args.part] = {"environment": start, **summary(rows), "images": rows}
    OUT.write_text(json.dumps(results, indent=1) + "\n")
    print(f"written: {OUT}")


SOURCES = ("pydicom", "nibabel", "astropy")


def test_data(package: str) -> Path:
    """The folder of an installed package."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{package} is not installed, whose test data are measured")
    return Path(spec.origin).parent


def scientific() -> Iterator[tuple[str, Any]]:
    """Names and integer pixels of images, as they are found."""
    import imagecodecs
    import nibabel
    import pydicom
    from astropy.io import fits

    warnings.simplefilter("ignore")
    folders = [test_data("pydicom") / "data" / "test_files", test_data("nibabel") / "nicom" / "tests" / "data"]
    for path in (path for folder in folders for path in sorted(folder.glob("*.dcm"))):
        try:
            scan = pydicom.dcmread(path)
            if scan.file_meta.TransferSyntaxUID.is_compressed:
                frame = next(pydicom.encaps.generate_frames(scan.PixelData, number_of_frames=1))
                yield path.name, imagecodecs.jpeg2k_decode(frame)
            else:
                yield path.name, scan.pixel_array
        except Exception:  # many of these files are wrong on purpose
            continue
    for name in MEDICAL:
        volume = nibabel.load(test_data("nibabel") / "tests" / "data" / name)
        slices = np.asarray(volume.dataobj.get_unscaled())
        slices = slices[..., 0] if slices.ndim == 4 else slices
        yield name, slices[:, :, slices.shape[2] // 2]
    for path in sorted(test_data("astropy").rglob("tests/data/*.fits*")):
        try:
            units = fits.open(path, do_not_scale_image_data=True)
            found = [unit.data for unit in units if isinstance(unit.data, np.ndarray)]
        except Exception:
            continue
        yield from ((path.name, pixels) for pixels in found)


def distinct(found: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, PixelImage]]:
    """The images of 16 bits among them, each once; negative levels are moved up."""
    seen = set()
    for name, pixels in found:
        if pixels.ndim != 2 or pixels.dtype.kind not in "iu" or pixels.dtype.itemsize != 2:
            continue
        moved = pixels.astype(np.int64) - min(0, int(pixels.min()))
        if moved.size < LEAST_PIXELS or len(np.unique(moved)) < LEAST_LEVELS or moved.max() > 65535:
            continue
        image = from_array(moved.astype(np.uint16))
        if (key := image.pixels.tobytes()) not in seen:
            seen.add(key)
            yield name, image


def with_alpha(folder: Path, count: int, side: int) -> Iterator[tuple[str, PixelImage]]:
    """Middles of photographs with alpha."""
    paths = sorted(folder.iterdir())
    for number, path in enumerate(paths[:: max(1, len(paths) // count)][:count]):
        pixels = read_image(path).pixels
        top, left = ((length - min(length, side)) // 2 for length in pixels.shape[:2])
        colours = pixels[top : top + side, left : left + side, :3]
        height, width = colours.shape[:2]
        if number % 2:
            shape = Image.new("L", (width, height), 0)
            draw = ImageDraw.Draw(shape)
            draw.ellipse((width // 8, height // 6, width * 3 // 4, height * 7 // 8), fill=255)
            draw.rectangle((width // 2, height // 3, width * 9 // 10, height * 2 // 3), fill=255)
        else:
            grey = Image.fromarray(colours).convert("L").filter(ImageFilter.GaussianBlur(5))
            middle = int(np.median(np.asarray(grey)))
            shape = grey.point([255 * (level > middle) for level in range(256)])
        alpha = np.asarray(shape.filter(ImageFilter.GaussianBlur(3 + number)))
        pixels = np.dstack([colours, alpha])
        if number % 2:
            pixels[alpha == 0] = 0
        yield path.stem, from_array(pixels)


def others(image: PixelImage) -> Iterator[Peer]:
    """What else codes an image."""
    for peer in peers():
        if peer.coder != "PNG" and (peer.coder != "WebP" or not image.mode.endswith(";16")):
            yield peer

    def png(pixels: Any) -> bytes:
        return write_image(from_array(pixels), "png")[0]

    yield Peer("PNG", "", png, lambda data: np.asarray(read_image(data).pixels))
    if importlib.util.find_spec("zstandard"):
        import zstandard

        def decode(data: bytes) -> Any:
            flat = zstandard.ZstdDecompressor().decompress(data, image.pixels.nbytes)
            return np.frombuffer(flat, image.pixels.dtype).reshape(image.pixels.shape)

        yield Peer("zstd", "19", lambda pixels: zstandard.ZstdCompressor(19).compress(pixels.tobytes()), decode)


def measured(name: str, image: PixelImage) -> Row:
    """Bytes and seconds of all."""
    found, reader = measure(name, image, Compressor(Options(verify=False)), others(image))
    coder = next(reader.entries()).coder
    print(name, image, coder, found["bytes"], flush=True)
    return {"name": name, "mode": image.mode, "size": image.size, **found, "coder": coder}


def summary(rows: list[Row]) -> dict[str, Any]:
    """Bytes of all together, and the mean of what bbc takes of the bytes of each other (geometric, images alike)."""
    keys = list(rows[0]["bytes"])
    ratios = {
        key: round(float(np.exp(np.mean([np.log(row["bytes"]["bbc"] / row["bytes"][key]) for row in rows]))), 4)
        for key in keys[1:]
    }
    return {"bytes": {key: sum(row["bytes"][key] for row in rows) for key in keys}, "bbc_to": ratios}


if __name__ == "__main__":
    main()
