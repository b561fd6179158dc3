"""Archives from Python: the mapping, what a lookup reads, names of images without any, writing and adding."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fixtures_for_tests import empty_folder, tiny_models  # noqa: F401
from PIL import Image

import bbcompress as bbc
from bbcompress.images.image import PixelImage
from bbcompress.images.read import read_image
from bbcompress.pipeline import reader
from bbcompress.pipeline.reader import Reader

DATA = Path(__file__).resolve().parent / "data"
DIGITS = [read_image(DATA / "digits" / "grey" / f"{number:04}.png") for number in range(3)]
COLOURS = [bbc.from_array(np.full((4, 5 + n, 3), n, np.uint8)) for n in range(3)]
MIXED = dict(zip("abcdef", [one for pair in zip(DIGITS, COLOURS, strict=True) for one in pair], strict=True))
"""Digits, which are one group, and colours, which no model codes and are another, in turn."""


pytestmark = pytest.mark.usefixtures("tiny_models", "empty_folder")


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the groups that are decoded."""
    numbers: list[int] = []
    read = Reader.read_group

    def watched(reader: Reader, number: int) -> list[PixelImage]:
        numbers.append(number)
        return read(reader, number)

    monkeypatch.setattr(Reader, "read_group", watched)
    return numbers


def test_an_archive_that_is_not_there_is_a_missing_file(tmp_path: Path) -> None:
    for call in (lambda: bbc.add(tmp_path / "no.bbc", {}), lambda: bbc.open(tmp_path / "no.bbc")):
        with pytest.raises(bbc.BBCError) as caught:
            call()
        assert isinstance(caught.value, FileNotFoundError)


@pytest.mark.parametrize("name", ["long" * 100, f"{'long' * 100}/a.bbc"])
def test_a_path_that_cannot_be_looked_at_is_an_error_of_bbc(name: str) -> None:
    """As one in a folder that may not be searched, which would not stop root."""
    bbc.write("a.bbc", {"a.png": DIGITS[0]})
    before = sorted(Path().rglob("*"))
    for call in (
        lambda: bbc.open(name),
        lambda: bbc.compress(name),
        lambda: bbc.pack(name, "b.bbc"),
        lambda: bbc.pack([name, "a.bbc"], "b.bbc"),
        lambda: bbc.pack("a.bbc", name),
        lambda: bbc.write(name, {"a.png": DIGITS[0]}),
        lambda: bbc.add(name, {}),
        lambda: bbc.extract(name, "back"),
        lambda: bbc.extract("a.bbc", name),
        lambda: bbc.write("b.bbc", {"a.png": DIGITS[0]}, model=name),
    ):
        with pytest.raises(bbc.BBCError):
            call()
    assert sorted(Path().rglob("*")) == before


def test_an_archive_is_a_mapping_in_the_order_of_its_images() -> None:
    summary = bbc.write("set.bbc", MIXED, k=0)
    assert (summary.images, summary.size) == (6, Path("set.bbc").stat().st_size)
    with bbc.open("set.bbc") as archive:
        assert len(archive) == 6 and list(archive) == list("abcdef") == list(archive.keys())
        assert "a" in archive and "g" not in archive and None not in archive
        assert dict(archive.items()) == MIXED == dict(archive.images())
        assert archive["d"] == MIXED["d"] == archive.read(3)
        assert archive.get("g") is None and archive.get("b") == MIXED["b"]
        assert [archive.name(position) for position in range(6)] == list("abcdef")
        assert sorted(place for group in archive.groups for place in group) == list(range(6))
        assert repr(archive) == "<Archive of 6 images>"
        for bad in ("g", "0", ""):
            with pytest.raises(KeyError):
                archive[bad]
        for position in (6, -7):
            with pytest.raises(IndexError):
                archive.read(position)
            with pytest.raises(IndexError):
                archive.name(position)
    with pytest.raises(bbc.BBCError, match="closed"):
        archive["a"]


def test_a_lookup_decodes_its_group_once(decoded: list[int]) -> None:
    bbc.write("set.bbc", MIXED, k=0, verify=False)
    with bbc.open("set.bbc") as archive:
        assert archive["a"] == MIXED["a"] and len(decoded) == 1
        assert archive["c"] == MIXED["c"] and archive["e"] == MIXED["e"] and len(decoded) == 1
        assert archive["b"] == MIXED["b"] and len(decoded) == 2
        assert list(archive.values()) == list(MIXED.values())
    assert sorted(decoded) == sorted(set(decoded))


def test_what_is_kept_is_bounded(decoded: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "CACHED_SUBPIXELS", sum(image.samples for image in DIGITS))
    bbc.write("set.bbc", MIXED, k=0, verify=False)
    with bbc.open("set.bbc") as archive:
        for name in "adca":  # the digits make room for the colours, and these for them
            assert archive[name] == MIXED[name]
        assert len(decoded) == 3
        assert archive["d"] == MIXED["d"] and len(decoded) == 4


def test_images_without_names_have_their_numbers() -> None:
    bbc.write("set.bbc", ((None, image) for image in DIGITS))
    with bbc.open("set.bbc") as archive:
        assert list(archive) == ["00000", "00001", "00002"]
        assert archive["00002"] == DIGITS[2]
        for name in ("2", "00003", "-0001", "0" * 5000, "²", "000002"):
            assert name not in archive


def test_a_number_is_no_name_where_images_have_names() -> None:
    bbc.write("set.bbc", {"00001": DIGITS[0], "x": DIGITS[1]})
    with bbc.open("set.bbc") as archive:
        assert archive["00001"] == DIGITS[0] and "00000" not in archive


def test_a_lone_image_is_named_by_its_file() -> None:
    data = bbc.compress(DIGITS[0])
    Path("zero.bbc").write_bytes(data)
    with bbc.open("zero.bbc") as archive:
        assert dict(archive) == {"zero": DIGITS[0]} == dict(archive.images())
        assert archive.groups == [range(1)] and archive.time(0) is None
        assert "00000" not in archive
        with pytest.raises(IndexError):
            archive.read(1)
    file = io.BytesIO(data)
    with bbc.open(file) as archive:
        assert dict(archive) == {"image": DIGITS[0]}
    assert not file.closed


@pytest.mark.parametrize("name", ["00012", "00000", "1"])
def test_a_lone_image_is_named_by_a_file_of_digits(name: str) -> None:
    Path(f"{name}.bbc").write_bytes(bbc.compress(DIGITS[0]))
    with bbc.open(f"{name}.bbc") as archive:
        assert name in archive and "0" not in archive and "00013" not in archive
        assert dict(archive) == {name: DIGITS[0]}


def test_files_that_cannot_be_opened() -> None:
    Path("x.bbc").write_bytes(b"something else")
    with pytest.raises(bbc.FormatError):
        bbc.open("x.bbc")
    with pytest.raises(bbc.BBCError, match=r"none\.bbc: cannot be read: No such file"):
        bbc.open("none.bbc")
    with pytest.raises(bbc.BBCError, match="is a folder, and holds no manifest"):
        bbc.open(Path())
    bbc.write("y.bbc", MIXED)
    with pytest.raises(bbc.ModelError):
        bbc.open("y.bbc", model="none")


def test_a_damaged_group_leaves_the_others() -> None:
    bbc.write("set.bbc", MIXED, k=0)
    with bbc.open("set.bbc") as archive:
        number = next(n for n, group in enumerate(archive.groups) if 1 in group)
        at = archive._reader.file.groups[number].offset + 8
    data = bytearray(Path("set.bbc").read_bytes())
    data[at] ^= 1
    with bbc.open(io.BytesIO(data)) as archive:
        with pytest.raises(bbc.FormatError, match=f"group {number} is damaged"):
            archive["b"]
        assert archive["a"] == MIXED["a"] and archive["e"] == MIXED["e"]


def test_images_of_all_kinds_with_times() -> None:
    array = np.eye(5, dtype=np.bool_)
    bbc.write("set.bbc", [("a", array, 10), ("b", Image.new("RGBA", (2, 3)), 20), ("c", DIGITS[0], -1)])
    with bbc.open("set.bbc") as archive:
        assert [archive.time(position) for position in range(3)] == [10, 20, -1]
        assert np.array_equal(archive["a"].pixels, array) and archive["b"].mode == "RGBA"


def failing() -> Iterator[tuple[str, PixelImage]]:
    yield "x", DIGITS[0]
    raise RuntimeError("no more")


def test_writing_is_whole_or_not_at_all() -> None:
    bbc.write("set.bbc", {"a": DIGITS[0]})
    before = Path("set.bbc").read_bytes()
    with pytest.raises(bbc.OutputExistsError):
        bbc.write("set.bbc", MIXED)
    for images in (failing(), {}, {"../a": DIGITS[0]}, [("a", DIGITS[0]), ("a", DIGITS[0])], {"a": np.zeros(3)}):
        with pytest.raises((RuntimeError, bbc.BBCError)):
            bbc.write("set.bbc", images, overwrite=True)
        with pytest.raises((RuntimeError, bbc.BBCError)):
            bbc.add("set.bbc", images)
    assert Path("set.bbc").read_bytes() == before and [path.name for path in Path().iterdir()] == ["set.bbc"]
    bbc.write("set.bbc", MIXED, overwrite=True)
    with bbc.open("set.bbc") as archive:
        assert len(archive) == 6


def lazily(name: str) -> Iterator[tuple[str, Image.Image]]:
    yield "x", Image.new("L", (3, 3))
    with Image.open(name) as image:
        yield "y", image


def test_images_that_cannot_be_read() -> None:
    """It is the image that is at fault, and named, not the archive."""
    bbc.write("set.bbc", {"a": DIGITS[0]})
    before = Path("set.bbc").read_bytes()
    Path("cut.png").write_bytes((DATA / "digits" / "grey" / "0000.png").read_bytes()[:-40])
    Path("no.png").write_bytes(b"no image")
    reasons = {
        "cut.png": r"cut\.png: cannot be read: .*truncated",
        "none.png": r"none\.png: cannot be read: No such file",
        "no.png": r"cannot be read: cannot identify image file .*no\.png",
    }
    for name, reason in reasons.items():
        with pytest.raises(bbc.ImageError, match=reason):
            bbc.write("w.bbc", lazily(name))
        with pytest.raises(bbc.ImageError, match=reason):
            bbc.add("set.bbc", lazily(name))
    with Image.open("cut.png") as image, pytest.raises(bbc.ImageError, match=reasons["cut.png"]):
        bbc.compress(image)
    assert Path("set.bbc").read_bytes() == before and not Path("w.bbc").exists()


def test_a_damaged_bbc_file_that_pillow_opened() -> None:
    data = bytearray(bbc.compress(DIGITS[0]))
    data[-1] ^= 1
    bbc.register_pillow()
    with Image.open(io.BytesIO(data)) as image, pytest.raises(bbc.FormatError):
        bbc.write("w.bbc", {"a": image})


def test_adding() -> None:
    bbc.write("set.bbc", {"a": DIGITS[0]})
    assert bbc.add("set.bbc", {"b": DIGITS[1]}, k=0).images == 1
    with pytest.raises(bbc.BBCError, match="name 'a' already"):
        bbc.add("set.bbc", {"a": DIGITS[2]})
    with bbc.open("set.bbc") as archive:
        assert dict(archive) == {"a": DIGITS[0], "b": DIGITS[1]}
    with pytest.raises(bbc.BBCError, match="cannot be written"):
        bbc.add("none.bbc", {"a": DIGITS[0]})
