"""bbc sheet: what each image takes, group by group, and what is refused."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from fixtures_for_tests import empty_folder, tiny_models  # noqa: F401
from models_for_tests import models_in

from bbcompress.cli import main
from bbcompress.pages.sheet import write_sheet
from bbcompress.pipeline.explaining import explain
from bbcompress.pipeline.reader import Reader

pytestmark = pytest.mark.usefixtures("tiny_models", "empty_folder")

STREAMS = Path(__file__).resolve().parents[1] / "golden" / "streams"


def bbc(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


def values(page: str) -> dict[int, list[float]]:
    """Pixels, bytes and bits a pixel of each image by its position."""
    found = [[*map(float, item.split())] for item in re.findall(r'<li data-v="(.*?)">', page)]
    return {int(item[0]): item[1:] for item in found}


@pytest.mark.parametrize("name", ["two-segments", "metadata", "parts"])
def test_each_image_takes_what_explain_says(name: str) -> None:
    path = STREAMS / f"{name}.bbc"
    assert bbc("sheet", path, "-o", "a.html").exit_code == 0
    found = values(Path("a.html").read_text(encoding="utf-8"))
    reader = Reader(io.BytesIO(path.read_bytes()), models_in())
    assert sorted(found) == list(range(reader.image_count))
    for position in (0, reader.image_count - 1):
        explained = explain(reader, position)
        assert found[position][1] == pytest.approx(explained.image_bits / 8, abs=0.06)
        assert found[position][2] == pytest.approx(explained.bits_per_pixel, abs=1e-4)


def test_groups_are_written_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each before the next is decoded, so that memory does not grow with their number."""
    path, out = STREAMS / "two-segments.bbc", io.BytesIO()
    reader = Reader(io.BytesIO(path.read_bytes()), models_in())
    written: list[int] = []
    read = Reader.read_costs

    def watched(self: Reader, number: int, *arguments: object) -> object:
        written.append(out.getvalue().count(b"<li "))
        return read(self, number)

    monkeypatch.setattr(Reader, "read_costs", watched)
    assert write_sheet(out, reader, "a", 1) == reader.image_count
    before = [sum(map(len, reader.groups[:number])) for number in range(len(reader.groups))]
    assert written == before and len(before) > 2


def test_only_some_and_the_usual_name() -> None:
    Path("b.bbc").write_bytes((STREAMS / "two-segments.bbc").read_bytes())
    names = [name for name in Reader(io.BytesIO(Path("b.bbc").read_bytes()), models_in()).names if name is not None]
    result = bbc("sheet", "b.bbc", "--only", names[1])
    assert result.exit_code == 0 and "b.bbc -> b.html  1 image," in result.output
    assert list(values(Path("b.html").read_text(encoding="utf-8"))) == [1]


def test_a_lone_image_has_a_sheet() -> None:
    Path("one.bbc").write_bytes((STREAMS / "lone-binary.bbc").read_bytes())
    assert bbc("sheet", "one.bbc", "-q").output == ""
    assert 'alt="one.bbc"' in Path("one.html").read_text(encoding="utf-8")


def test_what_is_refused_leaves_nothing() -> None:
    data = bytearray((STREAMS / "two-segments.bbc").read_bytes())
    data[20] ^= 1
    Path("damaged.bbc").write_bytes(data)
    Path("there.html").write_bytes(b"mine")
    Path("there.bbc").write_bytes((STREAMS / "lone-binary.bbc").read_bytes())
    before = sorted(Path().iterdir())
    for arguments, words in (
        (["missing.bbc"], "no such file"),
        (["damaged.bbc"], "damaged"),
        (["there.bbc"], "there.html"),
        (["there.bbc", "-o", "there.bbc", "-f"], "is the file, and the output"),
        (["there.bbc", "-o", "a.html", "--only", "x"], "no image has a name"),
    ):
        result = bbc("sheet", *arguments)
        assert result.exit_code == 1 and words in result.output.lower(), result.output
        assert result.output.count("\n") == 1
        assert sorted(Path().iterdir()) == before and Path("there.html").read_bytes() == b"mine"
