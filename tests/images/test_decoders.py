"""Pillow's decoders: nothing of Pillow's or Python's that belongs to the whole program is changed, or matters."""

from __future__ import annotations

import io
import os
import threading
import warnings
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bbcompress.images import decoders
from bbcompress.images.formats.png.convert import write_png
from bbcompress.images.image import from_array
from bbcompress.images.read import read_frames, read_image

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8))
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "PPM", "TIFF", "BMP")


def saved(form: str, **options: Any) -> bytes:
    out = io.BytesIO()
    PICTURE.save(out, form, **options)
    return out.getvalue()


@pytest.mark.parametrize("form", FORMATS)
def test_limits_of_the_program_do_not_matter(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(form)
    image = read_image(data)
    for limit in (1, 700):  # below half of the pixels Pillow refuses, else it warns
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert read_image(data) == image
            assert list(read_frames(data)) == [image]


@pytest.mark.parametrize("form", FORMATS)
def test_nothing_of_the_program_is_changed(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even for a moment, in which other threads might see it."""
    data = saved(form)
    seen = []
    array = np.asarray

    def watched(*args: Any, **options: Any) -> Any:
        seen.append((Image.MAX_IMAGE_PIXELS, list(warnings.filters)))
        return array(*args, **options)

    before = (Image.MAX_IMAGE_PIXELS, list(warnings.filters))
    monkeypatch.setattr(np, "asarray", watched)
    monkeypatch.setattr(
        decoders, "check_size", lambda *_: seen.append((Image.MAX_IMAGE_PIXELS, list(warnings.filters)))
    )
    read_image(data)
    assert all(state == before for state in seen)
    assert (Image.MAX_IMAGE_PIXELS, list(warnings.filters)) == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_while_another_thread_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child reads, too: it waits for no lock that a thread holds which it does not have."""
    entered, go_on = threading.Event(), threading.Event()
    data = saved("WEBP")

    original = decoders.check_size

    def wait(*args: int) -> None:
        entered.set()
        go_on.wait(60)
        original(*args)

    monkeypatch.setattr(decoders, "check_size", wait)
    thread = threading.Thread(target=lambda: read_image(data))
    thread.start()
    try:
        assert entered.wait(60)
        monkeypatch.setattr(decoders, "check_size", original)
        child = os.fork()
        if child == 0:
            try:
                os._exit(0 if read_image(data).size == (40, 30) else 1)
            finally:
                os._exit(2)
        done = threading.Event()
        status: list[int] = []

        def wait_for_child() -> None:
            status.append(os.waitpid(child, 0)[1])
            done.set()

        waiter = threading.Thread(target=wait_for_child)
        waiter.start()
        hangs = not done.wait(60)
        if hangs:
            os.kill(child, 9)
        waiter.join()
        assert not hangs and status == [0]
    finally:
        go_on.set()
        thread.join()


def test_bands_of_large_images_are_copied_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bbcompress.images.image.BAND_PIXELS", 100)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    pixels = np.asarray(PICTURE)
    assert read_image(saved("WEBP", lossless=True)) == from_array(pixels)
    assert read_image(write_png(from_array(pixels))) == from_array(pixels)
    for compression in ("tiff_lzw", "packbits"):
        assert read_image(saved("TIFF", compression=compression)) == from_array(pixels)
