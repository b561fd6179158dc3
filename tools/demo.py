"""The main job on a photograph and the sample digits: compress, decompress, compare the pixels, show the sizes.

    python tools/demo.py

Runs the `bbc` command as a user would, in a temporary directory.
"""

from __future__ import annotations

import bz2
import io
import lzma
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

DATA = Path(__file__).resolve().parents[1] / "tests" / "data"
DIGITS = DATA / "digits"
PHOTO = DATA / "photos" / "landscape.png"
STEPS = 4
MOSAIC_COLUMNS = 10
PNG_STRATEGIES = range(5)  # zlib's
XZ_PRESET = 9 | lzma.PRESET_EXTREME

Sizes = dict[str, int]


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="bbc-demo-") as name:
        work = Path(name)
        shutil.copy(PHOTO, work)
        print(f"\nA photograph, {STEPS} steps of refinement:")
        photo = round_trip_image(work, PHOTO.name)
        columns = {}
        for kind in ("binary", "grey"):
            shutil.copytree(DIGITS / kind, work / kind)
            shutil.copy(work / kind / "0000.png", work / f"{kind}.png")
            print(f"\nOne {kind} digit, {STEPS} steps of refinement:")
            one = round_trip_image(work, f"{kind}.png")
            print(f"\nA folder of {kind} digits:")
            archive = round_trip_folder(work, kind)
            columns[kind] = (one, archive)
    print("\nEvery pixel came back. Bytes, and bits per pixel:\n")
    console = Console()
    console.print(size_table("A photograph", {"colour": photo}))
    console.print(size_table("One digit", {kind: one for kind, (one, _) in columns.items()}))
    console.print(size_table("A hundred digits", {kind: archive for kind, (_, archive) in columns.items()}))


def round_trip_image(work: Path, name: str) -> Sizes:
    """Compress and decompress one image; sizes by method."""
    compressed = Path(name).with_suffix(".bbc").name
    bbc(work, "compress", name, "-o", compressed, "-K", str(STEPS), "--force")
    bbc(work, "decompress", compressed, "-o", f"back-{name}")
    compare(work / name, work / f"back-{name}")
    images: list[Image.Image] = [Image.open(work / name)]
    return {
        "pixels": pixel_count(images),
        f"bbc, K = {STEPS}": (work / compressed).stat().st_size,
        "PNG": (work / name).stat().st_size,
        "PNG, optimised": best_png(images[0]),
        "WebP lossless": webp(images[0]),
    }


def round_trip_folder(work: Path, folder: str) -> Sizes:
    """Compress a folder into one archive and decompress it; sizes by method."""
    archive = f"{folder}-set.bbc"
    bbc(work, "compress", folder, "-o", archive, "-K", str(STEPS), "--force")
    bbc(work, "decompress", archive, "-o", f"back-{folder}")
    back = {path.name: path for path in (work / f"back-{folder}").rglob("*.png")}
    paths = sorted((work / folder).iterdir())
    if sorted(back) != [path.name for path in paths]:
        sys.exit(f"demo: {archive} gave other files than went in")
    for path in paths:
        compare(path, back[path.name])
    images: list[Image.Image] = [Image.open(path) for path in paths]
    return {
        "pixels": pixel_count(images),
        f"bbc, K = {STEPS}": (work / archive).stat().st_size,
        "PNG files": sum(path.stat().st_size for path in paths),
        "PNG files, optimised": sum(best_png(image) for image in images),
        "one PNG, optimised": best_png(mosaic(images)),
        "xz of all pixels": min(len(lzma.compress(raw, preset=XZ_PRESET)) for raw in stacks(images)),
        "bz2 of all pixels": min(len(bz2.compress(raw)) for raw in stacks(images)),
    }


def bbc(work: Path, *arguments: str) -> None:
    """Run the command in `work`; its failure is the demo's."""
    beside = str(Path(sys.executable).parent)
    command = shutil.which("bbc", path=os.pathsep.join([beside, os.environ.get("PATH", os.defpath)]))
    if command is None:
        sys.exit("demo: there is no bbc command: run `make demo`, or pip install .")
    print("$", shlex.join(["bbc", *arguments]), flush=True)
    status = subprocess.run([command, *arguments], cwd=work).returncode
    if status:
        sys.exit(f"demo: bbc {arguments[0]} failed with exit status {status}")


def compare(before: Path, after: Path) -> None:
    """End the demo unless both files hold the same image."""
    with Image.open(before) as a, Image.open(after) as b:
        if (a.mode, a.size, a.tobytes()) != (b.mode, b.size, b.tobytes()):
            sys.exit(f"demo: {before.name} did not come back as it was")


def pixel_count(images: list[Image.Image]) -> int:
    """How many pixels the images have together."""
    return sum(image.width * image.height for image in images)


def best_png(image: Image.Image) -> int:
    """Bytes of the smallest PNG that Pillow makes of an image, one bit a pixel where that will do."""
    sizes = []
    for candidate in [image, image.convert("1")] if two_levels(image) else [image]:
        for strategy in PNG_STRATEGIES:
            file = io.BytesIO()
            candidate.save(file, "png", compress_level=9, compress_type=strategy)
            sizes.append(file.tell())
    return min(sizes)


def webp(image: Image.Image) -> int:
    """Bytes of a lossless WebP."""
    file = io.BytesIO()
    image.save(file, "webp", lossless=True, method=6, quality=100)
    return file.tell()


def two_levels(image: Image.Image) -> bool:
    """Whether only black and white occur."""
    return bool(np.isin(np.asarray(image), (0, 255)).all())


def mosaic(images: list[Image.Image]) -> Image.Image:
    """All images, of equal size, on one."""
    width, height = images[0].size
    whole = Image.new(images[0].mode, (width * MOSAIC_COLUMNS, height * -(-len(images) // MOSAIC_COLUMNS)))
    for index, image in enumerate(images):
        row, column = divmod(index, MOSAIC_COLUMNS)
        whole.paste(image, (column * width, row * height))
    return whole


def stacks(images: list[Image.Image]) -> list[bytes]:
    """All pixels one after another: a byte each, and a bit each where that will do."""
    pixels = np.stack([np.asarray(image) for image in images])
    packed = [np.packbits(pixels > 0).tobytes()] if all(two_levels(image) for image in images) else []
    return [pixels.tobytes(), *packed]


def size_table(title: str, columns: dict[str, Sizes]) -> Table:
    """A table of methods by kinds of image."""
    table = Table(title=title, title_justify="left")
    table.add_column("method")
    for kind in columns:
        table.add_column(f"{kind}, bytes", justify="right")
        table.add_column("bits/pixel", justify="right")
    for method in next(iter(columns.values())):
        if method != "pixels":
            cells = [
                cell
                for sizes in columns.values()
                for cell in (f"{sizes[method]:,}", f"{8 * sizes[method] / sizes['pixels']:.3f}")
            ]
            table.add_row(method, *cells, style="bold" if method.startswith("bbc") else None)
    return table


if __name__ == "__main__":
    main()
