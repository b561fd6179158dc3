"""Write the inputs that fuzzing begins with: small files of every kind.

python tests/fuzz/make_seeds.py FOLDER
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS / "support"))

from damage_for_tests import DATA, FILES, grown, one_cache  # noqa: E402

MAX_BYTES = 3000
MODES = {"BMP": "1 L P RGB", "GIF": "1 L P", "JPEG": "L RGB CMYK", "PPM": "1 L RGB", "WEBP": "RGB RGBA"}
MODES["TIFF"] = "1 L P RGB RGBA CMYK I;16"
COMPRESSIONS = ("raw", "tiff_lzw", "packbits", "tiff_adobe_deflate")


def main() -> None:
    folder = Path(sys.argv[1])
    with one_cache():
        files = [*(make() for make in FILES.values()), *grown()]
    files += [path.read_bytes() for path in sorted((TESTS / "golden").rglob("*.bbc"))]
    images = [path.read_bytes() for path in sorted((DATA / "pngsuite").glob("*.png"))]
    picture = np.arange(7 * 9 * 3, dtype=np.uint8).reshape(7, 9, 3)
    for form, modes in MODES.items():
        for mode in modes.split():
            image = Image.fromarray(picture).convert("L" if mode == "I;16" else mode).convert(mode)
            for compression in COMPRESSIONS if form == "TIFF" else [None]:
                out = io.BytesIO()
                image.save(out, form, lossless=True, compression=compression)
                images.append(out.getvalue())
    for form in ("GIF", "PNG", "TIFF", "WEBP"):
        out = io.BytesIO()
        first, second = Image.fromarray(picture), Image.fromarray(255 - picture)
        first.save(out, form, save_all=True, append_images=[second])
        images.append(out.getvalue())
    for name, seeds in (("container", files), ("decode", files), ("images", images)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(seeds):
            if len(data) <= MAX_BYTES:
                (folder / name / f"seed-{number:03}").write_bytes(data)


if __name__ == "__main__":
    main()
