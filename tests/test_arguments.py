"""What Python programs may pass: every wrong argument is a BBCError of one line in Python's words."""

from __future__ import annotations

import dataclasses
import io
import os
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from fixtures_for_tests import empty_folder, tiny_models  # noqa: F401
from PIL import Image

import bbcompress as bbc
from bbcompress.pipeline.options import OptionKeywords

pytestmark = pytest.mark.usefixtures("tiny_models", "empty_folder")

GREY = np.zeros((4, 4), np.uint8)


def compress(image: Any, **options: Any) -> bytes:
    return bbc.compress(image, **options)


def write(images: Any, path: Any = "new.bbc", **options: Any) -> Any:
    return bbc.write(path, images, **options)


def open_(file: Any, **options: Any) -> Any:
    return bbc.open(file, **options)


def decompress(data: Any, **options: Any) -> Any:
    return bbc.decompress(data, **options)


def closed_archive() -> bbc.Archive:
    archive = bbc.open("set.bbc")
    archive.close()
    return archive


def archive_of_a_closed_file() -> bbc.Archive:
    with open("set.bbc", "rb") as file:
        return bbc.open(file)


def archive_closed_in_use() -> bbc.Archive:
    with bbc.open("set.bbc") as archive:
        images, names = archive.images(), iter(archive)
        next(images), next(names)
    for left in (images, names):
        with pytest.raises(bbc.BBCError, match="the archive is closed"):
            next(left)
    return archive


USES_OF_AN_ARCHIVE: tuple[Callable[[bbc.Archive], Any], ...] = (
    lambda archive: archive["a.png"],
    lambda archive: archive.get("a.png"),
    lambda archive: archive.read(0),
    lambda archive: list(archive.images()),
    lambda archive: list(archive),
    lambda archive: len(archive),
    lambda archive: bool(archive),
    lambda archive: "a.png" in archive,
    lambda archive: any_(archive.__contains__, 3)(),
    lambda archive: list(archive.items()),
    lambda archive: archive.name(0),
    lambda archive: archive.time(0),
    lambda archive: archive.groups,
    lambda archive: archive.__enter__(),
)


def closed_image() -> Image.Image:
    Image.new("L", (4, 4)).save("closed.png")
    with Image.open("closed.png") as image:
        return image


def closed_file() -> Any:
    with open("set.bbc", "rb") as file:
        return file


class Pipe(io.RawIOBase):
    def readable(self) -> bool:
        return True


class Strange:
    def __array__(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("no\narray")


def any_(function: Callable[..., Any], *arguments: Any, **options: Any) -> Callable[[], Any]:
    """A call with arguments of types that mypy would not let pass."""
    return lambda: function(*arguments, **options)


Wrong = list[tuple[Callable[[], Any], str]]


def wrong_images() -> Wrong:
    odd = ("F", "I", "LAB", "HSV", "YCbCr", "RGBX", "La", "RGBa", "PA")
    empty = [(mode, size) for mode in ("L", "RGB", "P", "1") for size in ((0, 0), (0, 5), (5, 0))]
    kinds = ("float64", "float16", "int64", "complex128", "object", "<U1", "int8", "uint32")
    return [
        *((any_(compress, GREY.astype(kind)), f"an array of {kind} .4, 4. is no image") for kind in kinds),
        (any_(compress, np.ma.masked_array(GREY, GREY == 0)), "masked array"),
        (any_(compress, GREY[0]), "is no image: images are"),
        (any_(compress, GREY[None, None]), "is no image"),
        (any_(compress, np.zeros((2, 2, 5), np.uint8)), "is no image"),
        (any_(compress, np.zeros((4, 4, 3), bool)), "is no image"),
        (any_(compress, GREY[:0]), "is empty"),
        (any_(compress, np.zeros((4, 0, 3), np.uint8)), "is empty"),
        (any_(compress, None), "is no image"),
        (any_(compress, "a.png"), "a.png: cannot be read: No such file"),
        (any_(compress, pathlib.Path("a.png")), "a.png: cannot be read: No such file"),
        (any_(compress, b"data"), "read_image"),
        (any_(compress, Strange()), "a Strange is no array: no array"),
        *((any_(compress, Image.new(mode, size)), "is empty") for mode, size in empty),
        *((any_(compress, Image.new(mode, (4, 4))), f"mode {mode} are not supported") for mode in odd),
        (lambda: compress(closed_image()), "closed.png: cannot be read: its file is closed"),
        (any_(bbc.from_pillow, GREY), "a ndarray is no image of Pillow"),
        (any_(bbc.to_pillow, GREY), "a ndarray is no PixelImage"),
        (any_(bbc.PixelImage, "L", [[1]]), "pixels must be an array"),
        (any_(bbc.PixelImage, "X", GREY), "mode X"),
        (any_(bbc.PixelImage, ["L"], GREY), "mode"),
        (any_(bbc.PixelImage, "P", GREY, palette="abc"), "palette must be bytes, not 'abc'"),
        (any_(bbc.PixelImage, "L", GREY, transparency=3), "transparency must be bytes, not 3"),
        (any_(bbc.PixelImage, "L", GREY, metadata=[b"x"]), "metadata must be a tuple of Record"),
        (any_(bbc.PixelImage, "L", GREY, lost="x"), "lost must be a tuple of str"),
        *(
            (any_(read, *wrong, **named), message)
            for read in (bbc.read_image, bbc.read_frames)
            for wrong, named, message in wrong_sources()
        ),
        (any_(bbc.read_image, "a.png", formats="PNG"), "formats must be some of "),
        (any_(bbc.read_image, "a.png", formats=["EXE"]), "formats must be some of "),
    ]


def wrong_sources() -> list[tuple[tuple[Any, ...], dict[str, Any], str]]:
    """Arguments of what reads image files, and what is said of each."""
    return [
        ((3,), {}, "source must be a path"),
        (("missing.png",), {}, "missing.png: cannot be read: No such file"),
        ((io.StringIO("x"),), {}, "source is a text file; open"),
        ((io.StringIO(""),), {}, "source is a text file; open"),
        ((open(os.devnull),), {}, "source is a text file; open"),
        ((OfNoBytes("text"),), {}, "source must be a binary file: read.. gives 'text'"),
        ((OfNoBytes(None),), {}, "source must be a binary file: read.. gives None"),
        ((closed_file(),), {}, "cannot be read"),
        ((open("other", "wb"),), {}, "cannot be read"),
        ((io.BytesIO(b""),), {}, "is empty"),
        ((b"",), {}, "is empty"),
        (("a\0b",), {}, "cannot be read"),
        ((b"x",), {"max_pixels": "many"}, "max_pixels must be"),
    ]


class OfNoBytes:
    def __init__(self, found: Any) -> None:
        self.found = found

    def read(self, size: int = -1) -> Any:
        return self.found


CALLS: list[tuple[Callable[..., Any], tuple[Any, ...], str, str]] = [
    (bbc.compress, (GREY,), "image", "modle"),
    (bbc.decompress, (b"",), "data", "modle"),
    (bbc.open, ("set.bbc",), "file", "modle"),
    (bbc.Archive, ("set.bbc",), "file", "max_pixel"),
    (bbc.write, ("new.bbc", {}), "path", "overwrit"),
    (bbc.add, ("set.bbc", {}), "path", "overwrite"),
    (bbc.read_image, ("a.png",), "source", "max_pixel"),
    (bbc.read_frames, ("a.png",), "source", "formats"),
    (bbc.from_array, (GREY,), "array", "mode"),
    (bbc.from_pillow, (None,), "image", "mode"),
    (bbc.to_pillow, (None,), "image", "mode"),
    (bbc.PixelImage, ("L", GREY), "mode", "colours"),
]
"""What is public, arguments that it takes, the name of the first one, and a name that is none."""


def test_names_and_numbers_of_arguments() -> None:
    """One way everywhere: what Python says as a TypeError is a BBCError, too."""
    for function, given, first, unknown in CALLS:
        for call, expected in (
            (any_(function, *given, **{unknown: 1}), f"there is no option '{unknown}'; there are "),
            (any_(function), f"missing .* '{first}'"),
            (any_(function, *given, **{first: 1}), f"(no option|multiple values for argument) '{first}'"),
            (any_(function, *given, *range(20)), "takes .* positional arguments? but"),
        ):
            with pytest.raises(bbc.BBCError, match=expected) as caught:
                call()
            assert isinstance(caught.value, TypeError), function
            assert "__init__" not in str(caught.value)
    with pytest.raises(bbc.BBCError, match="no option 'stesp'; there are model, k, encoder"):
        any_(bbc.Options, stesp=1)()
    with pytest.raises(bbc.BBCError, match=r"Options.. takes"):
        any_(bbc.Options, *range(20))()


def test_options_that_are_named_instead_are_all() -> None:
    """Those that are arguments of the function, too: whoever looks for K finds k."""
    for call, others in (
        (any_(bbc.compress, GREY, steps=1), "pixels, "),
        (any_(bbc.write, "new.bbc", {"a.png": GREY}, force=True), "overwrite, "),
        (any_(bbc.pack, ["a.png"], "new.bbc", force=True), "overwrite, skip_unreadable, frames, strip, pixels, "),
    ):
        with pytest.raises(bbc.CallError, match=f"there are k, {others}model, encoder, "):
            call()
    with pytest.raises(bbc.BBCError, match="paths is empty"):
        bbc.pack([], "new.bbc")


def test_errors_of_type_inside_stay_what_they_are() -> None:
    def images() -> Iterator[tuple[str, Any]]:
        raise TypeError("mine")
        yield

    with pytest.raises(TypeError, match="mine") as caught:
        bbc.write("new.bbc", images())
    assert not isinstance(caught.value, bbc.BBCError)


def test_a_type_checker_sees_misspelt_options() -> None:
    """mypy fails where it sees no fault in a line that says that there is one."""
    for call in (
        lambda: bbc.compress(GREY, modle="x"),  # type: ignore[call-arg]
        lambda: bbc.compress(GREY, binary=3),  # type: ignore[arg-type]
        lambda: bbc.write("new.bbc", {"a": GREY}, modle="x"),  # type: ignore[call-overload]
        lambda: bbc.add("set.bbc", {"a": GREY}, modle="x"),  # type: ignore[call-overload]
        lambda: bbc.decompress(b"", modle="x"),  # type: ignore[call-arg]
        lambda: bbc.open("set.bbc", modle="x"),  # type: ignore[call-arg]
        lambda: bbc.read_image("a.png", modle="x"),  # type: ignore[call-arg]
        lambda: bbc.Options(modle="x"),  # type: ignore[call-arg]
    ):
        with pytest.raises(bbc.BBCError):
            call()
    assert {field.name: field.type for field in dataclasses.fields(bbc.Options) if field.name != "k"} == (
        {name: kind.__forward_arg__ for name, kind in OptionKeywords.__annotations__.items()}
    )


def wrong_options() -> Wrong:
    given: list[tuple[dict[str, Any], str]] = [
        *(({"k": k}, "K must be a whole number from 0 to 1000") for k in
          ("4", 1.5, -1, 1001, True, [4])),
        ({"modle": "x"}, "no option 'modle'; there are k, pixels, model, encoder"),
        *(({"effort": effort}, "effort must be a whole number from 1 to 9") for effort in
          (0, 10, -1, True, 2.5, "5", None)),
        ({"steps": 3}, "no option 'steps'"),
        ({"encoder": 3}, "no encoder 3"),
        ({"learning_rate": "x"}, "learning_rate must be a number"),
        ({"learning_rate": 2}, "learning_rate must be a number"),
        ({"binary": "yes"}, "binary must be True or False"),
        ({"verify": 2}, "verify must be True or False"),
        ({"model": 3}, "model must be the path"),
        ({"model": "none"}, "there is no model none"),
        ({"jobs": 0}, "jobs must be a whole number of at least 1, not 0"),
        ({"jobs": "2"}, "jobs must be"),
        ({"max_pixels": 0}, "max_pixels must be"),
        ({"device": 3}, "device must be"),
        ({"device": ""}, "device must be"),
        ({"device": "tpu"}, "device tpu cannot be used: there is no such kind of device; bbc runs on cpu"),
        ({"device": "mps"}, "device mps cannot be used: it has no float64"),
        ({"device": "mps:0"}, "device mps:0 cannot be used: it has no float64"),
        ({"binary": True}, "is not grey of two levels; binary=True"),
    ]  # fmt: skip
    image = np.arange(16, dtype=np.uint8).reshape(4, 4)
    return [(any_(compress, image, **options), message) for options, message in given]


def wrong_files() -> Wrong:
    pairs = {"a.png": GREY}
    return [
        *((any_(write, {name: GREY}), "name of an image must be text or a path") for name in (3, b"a.png", ("a",))),
        (any_(write, {}), "there is no image"),
        *(
            (any_(write, images), "images must be")
            for images in (None, 3, "abc", [GREY], [("a",)], [("a", GREY, 1, 2)])
        ),
        (any_(write, [("a.png", GREY, "now")]), "the time of an image must be a whole number"),
        (any_(write, [("a.png", GREY, 1 << 50)]), "the time of an image must be a whole number"),
        (any_(write, [("a.png", GREY), (pathlib.Path("a.png"), GREY)]), "two images have the name 'a.png'"),
        (any_(write, {pathlib.Path("/a.png"): GREY}), "absolute path"),
        *(
            (any_(write, pairs, path), "path must be the path of a file")
            for path in (3, io.BytesIO(), b"x", "", "a\0b")
        ),
        (any_(write, pairs, "set.bbc"), "set.bbc exists; overwrite=True replaces it"),
        (any_(write, pairs, "set.bbc", overwrite="yes"), "overwrite must be True or False"),
        (any_(write, pairs, "folder", overwrite=True), "is a folder"),
        (any_(bbc.add, "missing.bbc", pairs), "No such file"),
        (any_(bbc.add, "lone.bbc", pairs), "not an archive"),
        (any_(bbc.add, 3, pairs), "path must be"),
        (any_(open_, "folder"), "is a folder, and holds no manifest"),
        (any_(open_, "missing"), "missing: cannot be read: No such file"),
        *((any_(open_, file), "file must be") for file in (b"set.bbc", None, 3, "", "a\0b")),
        (any_(open_, io.StringIO("x")), "is a text file"),
        (any_(open_, io.BytesIO(b"")), "not a .bbc file"),
        (any_(open_, Pipe()), "cannot be read at any place"),
        (lambda: open_(closed_file()), "file is closed"),
        (lambda: open_(open("other", "wb")), "not open for reading"),
        (any_(open_, "set.bbc", max_pixels="x"), "max_pixels must be"),
        (any_(open_, "set.bbc", max_steps=-1), "max_steps must be"),
        (any_(open_, "set.bbc", model=3), "model must be"),
        *(
            (lambda use=use, closed=closed: use(closed()), "the archive is closed")
            for use in USES_OF_AN_ARCHIVE
            for closed in (closed_archive, archive_of_a_closed_file, archive_closed_in_use)
        ),
        (lambda: any_(bbc.open("set.bbc").name, "a")(), "position must be a whole number, not 'a'"),
        (lambda: any_(bbc.open("set.bbc").time, "a")(), "position must be a whole number, not 'a'"),
        (lambda: any_(bbc.open("set.bbc").read, "a")(), "position must be a whole number, not 'a'"),
        (any_(decompress, b""), "not a .bbc file"),
        *((any_(decompress, data), "data must be the bytes") for data in ("x", None, 5, pathlib.Path("lone.bbc"))),
        (any_(decompress, b"x", max_pixels=-1), "max_pixels must be"),
        (any_(decompress, b"x", max_steps="x"), "max_steps must be"),
        (any_(decompress, b"x", device="mps"), "no float64"),
    ]


@pytest.fixture
def some_files(request: pytest.FixtureRequest) -> None:
    for fixture in ("tiny_models", "empty_folder"):  # first
        request.getfixturevalue(fixture)
    bbc.write("set.bbc", {"a.png": GREY, "b.png": GREY[:2]})
    pathlib.Path("lone.bbc").write_bytes(bbc.compress(GREY))
    os.mkdir("folder")


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.usefixtures("some_files")
@pytest.mark.parametrize("table", [wrong_images, wrong_options, wrong_files])
def test_one_line_says_what_is_wrong(table: Callable[[], Wrong]) -> None:
    for call, expected in table():
        with pytest.raises(bbc.BBCError) as caught:
            call()
        message = str(caught.value)
        assert re.search(expected, message), (expected, message)
        assert message.isprintable()
        assert "--" not in message
        assert not message.rstrip().endswith(":")
    assert not os.path.exists("new.bbc")


def test_a_file_that_is_missing_is_the_cause() -> None:
    with pytest.raises(bbc.BBCError) as caught:
        bbc.open("missing.bbc")
    assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_errors_of_what_makes_the_images_stay_theirs() -> None:
    def images() -> Iterator[tuple[str, Any]]:
        yield "a.png", GREY
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        bbc.write("new.bbc", images())
    assert os.listdir() == []


def test_arrays_of_any_layout() -> None:
    plain = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    wide = (np.arange(16, dtype=np.uint16) * 4099).reshape(4, 4)
    given: list[tuple[Any, Any]] = [
        (wide.astype(">u2"), wide),
        (wide.astype("<u2"), wide),
        (plain[::-1, ::-2], plain[::-1, ::-2]),
        (plain.transpose(1, 0, 2), plain.transpose(1, 0, 2)),
        (plain[..., :1], plain[..., 0]),
        (wide[..., None], wide),
        (plain[..., :1] > 20, plain[..., 0] > 20),
        (np.frombuffer(plain.tobytes(), np.uint8).reshape(4, 12), plain.reshape(4, 12)),
        (np.asfortranarray(wide), wide),
    ]
    for array, expected in given:
        found = bbc.decompress(compress(array))
        assert found.dtype == expected.dtype
        assert np.array_equal(found, expected)
    image = bbc.PixelImage("I;16", wide.astype(">u2"))
    assert image == bbc.from_array(wide)


def test_names_that_are_paths(some_files: None) -> None:
    bbc.write("paths.bbc", {pathlib.Path("a") / "b.png": GREY, pathlib.PureWindowsPath("c\\d.png"): GREY})  # type: ignore[dict-item]
    with bbc.open(pathlib.Path("paths.bbc")) as archive:
        assert list(archive) == ["a/b.png", "c/d.png"]
        for name in (pathlib.PurePosixPath("a/b.png"), pathlib.PureWindowsPath("c\\d.png")):
            assert any_(archive.__contains__, name)()
            assert np.array_equal(archive[name].pixels, GREY)
            assert any_(archive.get, name)() is not None
        assert not any_(archive.__contains__, pathlib.Path("e.png"))()
        with pytest.raises(KeyError):
            archive[pathlib.Path("e.png")]
        with pytest.raises(KeyError):
            archive["e.png"]
        with pytest.raises(IndexError):
            any_(archive.__getitem__, 2)()
        with pytest.raises(IndexError):
            archive.read(2)


def test_bytes_of_any_type(some_files: None) -> None:
    data = pathlib.Path("lone.bbc").read_bytes()
    for given in (data, bytearray(data), memoryview(data), np.frombuffer(data, np.uint8)):
        assert np.array_equal(decompress(given), GREY)
    assert compress(GREY, k=np.int64(2), binary=np.bool_(False)) == compress(GREY, k=2)
