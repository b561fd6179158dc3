"""The package as programs see it: its names, their types, and one tree of errors."""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from cases_for_tests import one_test_of
from fixtures_for_tests import tiny_models  # noqa: F401
from PIL import Image
from typing_extensions import assert_type

import bbcompress as bbc
from bbcompress import errors
from bbcompress.archive.lone import LeftOverError

DATA = Path(__file__).resolve().parent / "data"


pytestmark = pytest.mark.usefixtures("tiny_models")


@one_test_of("name", bbc.__all__)
def test_every_name_is_that_of_its_module(name: str) -> None:
    assert name in dir(bbc)
    value = getattr(bbc, name)
    assert getattr(import_module(value.__module__), name) is value and value.__doc__


def test_data_sets_of_pytorch_say_what_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ArchiveDataset", "GroupBatchSampler"):
        monkeypatch.delitem(vars(bbc), name, raising=False)
    monkeypatch.delitem(sys.modules, "bbcompress.integrations.torch_data", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModuleNotFoundError, match=r"ArchiveDataset needs PyTorch: pip install 'bbcompress\[train\]'"):
        _ = bbc.ArchiveDataset


def test_there_are_no_other_names() -> None:
    with pytest.raises(AttributeError, match="module 'bbcompress' has no attribute 'nothing'"):
        bbc.nothing  # noqa: B018
    assert bbc.__all__ == sorted(bbc.__all__)
    assert {name for name in bbc.__all__ if name.endswith("Error")} == {
        name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, errors.BBCError)
    }


def test_all_errors_are_one_tree() -> None:
    for name in bbc.__all__:
        if name.endswith("Error"):
            assert issubclass(getattr(bbc, name), bbc.BBCError)


def test_errors_travel_to_other_processes_and_take_up_names() -> None:
    for error in (
        bbc.FormatError("a\nb"),
        bbc.LimitError("K", python="p", command="c"),
        LeftOverError(8, is_zero=False),
    ):
        named = error.of("x.bbc")
        for one, name in ((error, ""), (named, "x.bbc: "), (pickle.loads(pickle.dumps(named)), "x.bbc: ")):
            assert type(one) is type(error) and vars(one) == vars(error)
            assert (str(one), one.for_command_line) == (f"{name}{error}", f"{name}{error.for_command_line}")


def test_types_as_a_program_has_them(tmp_path: Path) -> None:
    """mypy checks this function, as strictly as all else, against what the package says of itself."""
    data = assert_type(bbc.compress(np.zeros((3, 4), np.uint8), k=0, encoder="rha"), bytes)
    assert bbc.decompress(data).shape == (3, 4)
    image = assert_type(bbc.from_pillow(Image.new("L", (4, 3))), bbc.PixelImage)
    assert assert_type(bbc.to_pillow(image), Image.Image).size == (4, 3)
    path = tmp_path / "set.bbc"
    summary = bbc.write(path, [("a", image, 4), ("b", np.ones((3, 4), np.bool_), 5)], overwrite=True)
    assert assert_type(summary, bbc.Summary).images == 2
    assert bbc.write(tmp_path / "other.bbc", {"a": image, "b": bbc.to_pillow(image)}).images == 2
    assert assert_type(bbc.add(path, (("c", one, 6) for one in [bbc.to_pillow(image)])), bbc.Summary).images == 1
    with bbc.open(path) as archive:
        assert_type(archive, bbc.Archive)
        mapping: Mapping[str, bbc.PixelImage] = archive
        assert [assert_type(name, str) for name in mapping] == ["a", "b", "c"]
        assert assert_type(archive["a"], bbc.PixelImage) == image
        assert_type(archive.get("e"), bbc.PixelImage | None)
        assert assert_type(archive.time(2), int | None) == 6
    with bbc.open(io.BytesIO(data)) as lone:
        assert list(lone) == ["image"]
    with pytest.raises(bbc.BBCError):
        bbc.compress(np.zeros(3), 0)


def test_a_missing_file_is_both_errors(tmp_path: Path) -> None:
    missing = tmp_path / "no.bbc"
    for call in (lambda: bbc.open(missing), lambda: bbc.extract(missing, tmp_path / "out")):
        with pytest.raises(FileNotFoundError, match=r"no\.bbc: cannot be read: No such file") as caught:
            call()
        assert isinstance(caught.value, bbc.MissingFileError)
    for read in (lambda: bbc.read_image(missing), lambda: bbc.pack([missing], tmp_path / "out.bbc")):
        with pytest.raises(bbc.MissingImageError) as caught_image:
            read()
        assert isinstance(caught_image.value, FileNotFoundError) and isinstance(caught_image.value, bbc.ImageError)
    assert str(pickle.loads(pickle.dumps(caught_image.value))) == str(caught_image.value)


def test_images_are_arrays_and_say_little_of_themselves(tmp_path: Path) -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    bbc.write(tmp_path / "set.bbc", {"a.png": pixels})
    with bbc.open(tmp_path / "set.bbc") as archive:
        image = archive["a.png"]
        assert np.array_equal(np.asarray(image), pixels) and np.asarray(image).dtype == np.uint8
        assert np.asarray(image, dtype=float).dtype == float and np.array(image).flags.writeable
        assert repr(image) == "<PixelImage 4x3 L>"
        assert archive[0] == archive[-1] == archive[np.int64(0)] == image
        with pytest.raises(IndexError):
            archive[1]
        for odd in (True, 0.0, None):
            with pytest.raises(KeyError):
                archive[odd]  # type: ignore[index]
