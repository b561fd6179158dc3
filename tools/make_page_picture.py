"""Make a picture for the docs of a page that bbc wrote, by Debian's chromium: a PNG of few colours.

python tools/make_page_picture.py PAGE.html OUT.png [WIDTH HEIGHT]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars --virtual-time-budget=2000"
)
COLOURS = 192


def main() -> None:
    if len(sys.argv) not in (3, 5):
        raise SystemExit(__doc__)
    page, out = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    width, height = map(int, sys.argv[3:]) if len(sys.argv) == 5 else (1200, 900)
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "shot.png"
        command = ["chromium", *FLAGS.split(), f"--user-data-dir={folder}/profile", f"--window-size={width},{height}"]
        subprocess.run([*command, f"--screenshot={shot}", page.as_uri()], check=True, capture_output=True, timeout=120)
        with Image.open(shot) as picture:
            few = picture.convert("RGB").quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(out, optimize=True)


if __name__ == "__main__":
    main()
