"""`bbc bench --efforts`: rate against processor time by effort and of other formats, files read back and compared."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from bbcompress.bench import efforts, peers
from bbcompress.bench.efforts import EffortReport, Point, format_efforts, measure_efforts, plot_efforts
from bbcompress.bench.measure import load_data
from bbcompress.bench.peers import Peer
from bbcompress.bench.report import Data
from bbcompress.bench.schedule import parse_efforts
from bbcompress.cli import main
from bbcompress.errors import BBCError
from bbcompress.images.image import from_array
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.options import Options

DATA = Path(__file__).resolve().parents[1] / "data"
DIGITS = DATA / "digits" / "grey"


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working directory; the tiny models, and no others, are installed; JPEG XL is nowhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BBC_MODELS", str(DATA / "models"))
    monkeypatch.setattr("bbcompress.models.zoo.shipped_model_folders", lambda: [])
    monkeypatch.setitem(sys.modules, "imagecodecs", None)


def digits(count: int = 3) -> Data:
    return load_data([str(DIGITS)], None, "", count)


def run(*arguments: str) -> Any:
    return CliRunner().invoke(main, ["bench", *arguments], prog_name="bbc")


def test_lists_of_efforts() -> None:
    assert parse_efforts("1,3, 5..7") == (1, 3, 5, 6, 7)
    for text in ("0", "10", "1..10", "a", "", "3..1"):
        with pytest.raises(BBCError, match=f"--efforts {text}: "):
            parse_efforts(text)


def test_points_are_of_files_that_were_read_back() -> None:
    told: list[Point] = []
    data = digits()
    images = [image for _, image in data.images]
    report = measure_efforts(data, (1, 6), progress=told.append)
    assert report.points == told
    assert [point.label for point in told] == ["bbc 1", "bbc 6", "PNG", "WebP m6"]
    for point, effort in zip(told, (1, 6), strict=False):
        file = io.BytesIO()
        Compressor(Options(effort=effort)).archive(data.images, file)
        assert point.size == len(file.getvalue())
        assert sum(point.coders.values()) == 3
    for point in told:
        assert point.bpd == 8 * point.size / data.subpixels
        assert point.compress > 0 <= point.decompress
    alone = measure_efforts(data, (1,), alone=True).points[0]
    assert alone.size == sum(len(Compressor(Options(effort=1)).lone(image)[0]) for image in images)


def test_the_least_effort_is_warmed_up_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its models may be others: their loading is in no point's time."""
    called: list[tuple[int, str]] = []
    honest = efforts._by_bbc

    def by_bbc(groups: Any, effort: int, compressor: Compressor, alone: bool) -> Any:
        called.append((effort, groups[0][0][0]))
        return honest(groups, effort, compressor, alone)

    monkeypatch.setattr(efforts, "_by_bbc", by_bbc)
    data = digits(1)
    measure_efforts(data, (1, 3, 4))
    assert {effort for effort, name in called if name == "corner"} == {1, 4}
    assert [effort for effort, name in called if name != "corner"] == [1, 3, 4]


def test_other_formats_are_left_out_where_they_do_not_hold_the_images() -> None:
    data = Data("deep", [("a.png", from_array(np.full((9, 9), 300, np.uint16)))])
    assert [point.coder for point in measure_efforts(data, (1,)).points] == ["bbc"]


def test_a_wrong_image_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    lossy = Peer("lossy", "", lambda _: b"", lambda _: np.zeros((28, 28), np.uint8))
    monkeypatch.setattr(efforts, "peers", lambda: [lossy])
    with pytest.raises(BBCError, match="lossy: an image did not come back"):
        measure_efforts(digits(), (1,))
    monkeypatch.setattr(efforts, "peers", lambda: [])
    monkeypatch.setattr("bbcompress.pipeline.reader.Reader.images", lambda _: iter([]))
    with pytest.raises(BBCError, match="effort 1: the images did not come back"):
        measure_efforts(digits(), (1,))


def test_jpeg_xl_is_a_peer_where_imagecodecs_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class Codecs:
        class JPEGXL:
            available = True

        @staticmethod
        def jpegxl_encode(pixels: Any, lossless: bool, effort: int) -> bytes:
            assert lossless
            return bytes([effort])

        @staticmethod
        def jpegxl_decode(data: bytes) -> Any:
            return data

    monkeypatch.setitem(sys.modules, "imagecodecs", Codecs)
    found = {(peer.coder, peer.setting): peer for peer in peers.peers()}
    assert found["JPEG XL", "e9"].encode(np.zeros((2, 2), np.uint8)) == b"\x09"
    Codecs.JPEGXL.available = False
    assert len(peers.peers()) == 2


def test_the_command_writes_table_json_and_plots() -> None:
    result = run(str(DIGITS), "--images", "2", "-e", "1..2", "--json", "out.json", "--plot", "a.svg", "--plot", "a.png")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].endswith("processor seconds per megapixel")
    assert [line.split("  ")[0] for line in lines[1:]] == ["bbc 1", "bbc 2", "PNG", "WebP m6"]
    values = json.loads(Path("out.json").read_text())
    assert [row["setting"] for row in values["results"]] == ["1", "2", "", "m6"]
    with Image.open("a.png") as figure:
        assert figure.format == "PNG"
    assert "WebP" in Path("a.svg").read_text()


@pytest.mark.parametrize("arguments", [("-K", "0"), ("--encoders", "rha"), ("--repeat", "2"), ("--lr", "0.1")])
def test_what_means_nothing_beside_efforts_is_refused(arguments: tuple[str, str]) -> None:
    result = run(str(DIGITS), "-e", "1", *arguments)
    assert result.exit_code == 2
    assert f"{arguments[0]} cannot be given with --efforts" in result.stderr


def test_an_svg_is_reproducible() -> None:
    points = [Point("bbc", "1", 10, 2.5, 1.0, 2.0, {"a": 1}), Point("PNG", "", 20, 5.0, 0.1, 0.0, {})]
    report = EffortReport(Data("d", digits(1).images), {}, True, points)
    assert plot_efforts(report, "svg") == plot_efforts(report, "svg")
    assert "each a file" in format_efforts(report)
