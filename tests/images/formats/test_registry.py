"""The registry of image formats: what each declares, and that one module is all that a new one takes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cases_for_tests import one_test_of

from bbcompress import extract
from bbcompress.errors import BBCError
from bbcompress.images.formats.registry import (
    ImageFormat,
    image_formats,
    image_suffixes,
    kind_of,
    why_not_written,
    written_kinds,
)
from bbcompress.images.image import PixelImage, from_array
from bbcompress.images.read import read_image
from bbcompress.images.write import write_image

FARBFELD = '''
"""farbfeld: eight letters, two sides, RGBA of 16 bits."""

import struct

from bbcompress.images.formats.registry import ImageFormat, Pictures


def _read(data, max_pixels):
    import numpy as np

    from bbcompress.images.decoders import check_size
    from bbcompress.images.image import PixelImage

    width, height = struct.unpack(">2I", data[8:16])
    check_size(width, height, max_pixels)
    pixels = np.frombuffer(data, ">u2", 4 * width * height, 16).reshape(height, width, 4)
    return Pictures(1, iter([PixelImage("RGBA;16", pixels)]))


def _write(image, kind):
    from bbcompress.errors import ImageError

    if image.mode != "RGBA;16":
        raise ImageError(f"farbfeld cannot hold {image.mode}")
    return b"farbfeld" + struct.pack(">2I", *image.size) + image.pixels.astype(">u2").tobytes()


FORMAT = ImageFormat("FARBFELD", b"farbfeld", (".ff",), _read, {"ff": (".ff",)}, _write)
'''

PROGRAM = """
import sys
from bbcompress.images import formats
formats.__path__.append(sys.argv.pop(1))
from bbcompress.cli import main
main(prog_name="bbc")
"""


def test_a_new_format_is_one_module(tmp_path: Path) -> None:
    """Files of it are found in folders, read, and written by their name or by --format."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "farbfeld.py").write_text(FARBFELD)
    (tmp_path / "in").mkdir()
    pixels = np.random.default_rng(0).integers(0, 65536, (5, 7, 4), dtype=np.uint16)
    header = b"farbfeld" + (7).to_bytes(4, "big") + (5).to_bytes(4, "big")
    (tmp_path / "in" / "a.ff").write_bytes(header + pixels.astype(">u2").tobytes())

    def bbc(*arguments: str) -> None:
        command = [sys.executable, "-c", PROGRAM, str(tmp_path / "modules"), *arguments]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr

    bbc("compress", "in", "-o", "set.bbc")
    bbc("decompress", "set.bbc", "-o", "own")
    bbc("decompress", "set.bbc", "-o", "png", "--format", "png")
    bbc("decompress", "set.bbc", "-o", "ff", "--format", "ff")
    bbc("compress", "png/a.png", "-o", "b.bbc")
    bbc("decompress", "b.bbc", "-o", "b.ff")
    assert read_image(tmp_path / "png" / "a.png") == from_array(pixels)
    original = (tmp_path / "in" / "a.ff").read_bytes()
    for back in ("own/a.ff", "ff/a.ff", "b.ff"):
        assert (tmp_path / back).read_bytes() == original


@one_test_of("form", image_formats())
def test_what_a_format_declares(form: ImageFormat) -> None:
    re.compile(form.magic, re.DOTALL)
    assert form.suffixes and all(re.fullmatch(r"\.[a-z]+", suffix) for suffix in form.suffixes)
    for kind, suffixes in form.written.items():
        assert written_kinds()[kind] is form
        assert suffixes[0] == f".{kind}" and set(suffixes) <= set(form.suffixes)
        assert all(kind_of(suffix) == kind_of(suffix.upper()[1:]) == kind for suffix in suffixes)


def test_no_two_formats_share_a_name_or_a_suffix() -> None:
    formats = image_formats()
    assert len({form.name for form in formats}) == len(formats)
    assert sum(len(form.suffixes) for form in formats) == len(image_suffixes())
    assert sum(len(form.written) for form in formats) == len(written_kinds())


def test_a_file_begins_as_its_own_format_alone() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    images = {"L": picture[:, :, 0], "RGB": picture, "1": picture[:, :, 0] > 99}
    for kind, form in written_kinds().items():
        mode = {"pgm": "L", "gif": "L", "pbm": "1"}.get(kind, "RGB")
        data, suffix = write_image(PixelImage(mode, images[mode]), kind)
        assert suffix == f".{kind}"
        assert [other for other in image_formats() if re.match(other.magic, data, re.DOTALL)] == [form]


def test_jpeg_is_not_written_and_why() -> None:
    for asked in ("jpg", ".JPEG", "jpe"):
        assert kind_of(asked) is None
        assert why_not_written(asked) == "; JPEG would change the pixels"
    assert why_not_written("") == why_not_written(".xyz") == ""
    with pytest.raises(BBCError, match=r"not 'jpg'; JPEG would change the pixels$"):
        extract("a.bbc", "a", format="jpg")
