"""`bbc bench`: files of the true size, read back and compared; table, JSON and plots of them."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases_for_tests import one_test_of
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bbcompress.archive.container import ArchiveFile
from bbcompress.bench import measure as bench
from bbcompress.bench.measure import load_data, measure
from bbcompress.bench.plot import plot
from bbcompress.bench.report import NET_SAMPLES, Data, Report, Row, format_findings, format_report, format_row
from bbcompress.bench.schedule import Schedule, parse_encoders, parse_k
from bbcompress.cli import main
from bbcompress.codecs.fallback.items import encode_item, item_codec
from bbcompress.codecs.groups import decode_images
from bbcompress.coder import kernel_cache
from bbcompress.errors import BBCError, FormatError
from bbcompress.images.image import PixelImage, from_array
from bbcompress.images.read import read_image
from bbcompress.limits import MAX_K
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.options import Options
from bbcompress.pipeline.sources import find_images, readable

DATA = Path(__file__).resolve().parents[1] / "data"
DIGITS = DATA / "digits" / "binary"
IMAGES = 12
ROWS = [(encoder, steps) for encoder in ("baseline", "rha") for steps in (0, 1, 2)]
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(autouse=True)
def work(no_models: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory; the tiny models, and no others, are installed; no file is left in a temporary one."""
    temporary, here = tmp_path / "temporary", tmp_path / "work"
    for folder in (temporary, here):
        folder.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    monkeypatch.setenv("BBC_MODELS", str(DATA / "models"))
    monkeypatch.setattr(kernel_cache, "MAX_INTERPRETED", 4000)
    yield here
    assert kernel_cache.MAX_INTERPRETED == 4000
    assert not list(temporary.iterdir())


def digits(count: int = IMAGES) -> Data:
    return load_data([str(DIGITS)], None, "", count)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["bench", *arguments], prog_name="bbc")


def fail(*arguments: str) -> str:
    """Run the command so that it fails with one line and writes nothing; gives the line."""
    before = sorted(Path().rglob("*"))
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (1, ""), result.output
    lines = [line for line in result.stderr.splitlines() if "compiling kernels" not in line]
    assert len(lines) == 1 and lines[0].startswith("bbc: error: "), result.stderr
    assert sorted(Path().rglob("*")) == before
    return lines[0]


def archive_size(images: Any, options: Options) -> int:
    file = io.BytesIO()
    Compressor(options).archive(images, file)
    return len(file.getvalue())


# --- What to measure -----------------------------------------------------------------------------


@one_test_of(
    ("text", "steps"),
    [
        ("0..10", range(11)),
        ("0,1,5", (0, 1, 5)),
        ("0..3,20", (0, 1, 2, 3, 20)),
        ("5,1..2, 2 .. 3,5", (1, 2, 3, 5)),
        ("7", (7,)),
        ("1000", (1000,)),
    ],
)
def test_steps(text: str, steps: Any) -> None:
    assert parse_k(text) == tuple(steps)


@given(st.lists(st.tuples(st.integers(0, MAX_K), st.integers(0, 30)), min_size=1, max_size=5))
def test_steps_of_any_ranges(ranges: list[tuple[int, int]]) -> None:
    pairs = [(first, min(first + more, MAX_K)) for first, more in ranges]
    text = ",".join(f"{first}..{last}" if last > first else str(first) for first, last in pairs)
    assert parse_k(text) == tuple(sorted({k for first, last in pairs for k in range(first, last + 1)}))


@one_test_of(
    "text", ["", "a", "0..", "..3", "1.5", "-1", "3..1", "0,,1", "1001", "0..1001", "0...3", "1-3", "99999999999", "²"]
)
def test_bad_steps(text: str) -> None:
    line = fail(str(DIGITS), f"-K{text}") if text else fail(str(DIGITS), "-K", "")
    assert line.startswith(f"bbc: error: -K {text}")


def test_encoders() -> None:
    assert parse_encoders("rha, baseline,rha") == ("rha", "baseline")
    for text in ("", "rha,", "RHA", "half"):
        assert fail(str(DIGITS), "--encoders", text).startswith(f"bbc: error: --encoders {text}: there is no encoder")


def test_schedules_are_checked() -> None:
    bad: dict[str, Any]
    for bad in ({"repeats": 0}, {"learning_rate": 2.0}, {"k": (MAX_K + 1,)}, {"encoders": ("none",)}):
        with pytest.raises(BBCError):
            Schedule(**bad)


def test_images_of_paths() -> None:
    data = load_data([str(DIGITS), str(DATA / "photos" / "grey.png")], None, "")
    names = [f"{DIGITS.name}/{number:04}.png" for number in range(100)]
    assert [name for name, _ in data.images] == [*names, "grey.png"]
    assert data.name == "2 inputs"
    assert data.subpixels == 100 * 784 + read_image(DATA / "photos" / "grey.png").samples
    assert digits(3).images == [(f"000{n}.png", read_image(DIGITS / f"000{n}.png")) for n in range(3)]


def write_idx(path: Path, pixels: np.ndarray[Any, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"\0\0\x08\x03" + np.array(pixels.shape, ">u4").tobytes() + pixels.tobytes())


def test_images_of_data_sets(work: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1100, 4, 3)).astype(np.uint8)
    pixels[0, 0] = 127, 128, 255
    write_idx(work / "data" / "t10k-images-idx3-ubyte", pixels)
    write_idx(work / "data" / "train-images-idx3-ubyte", pixels[:20] // 2)
    grey = load_data([], "mnist", "data", 7)
    assert (grey.name, grey.subpixels) == ("mnist (test)", 7 * 12)
    assert grey.images == [(f"000{n}.png", from_array(pixels[n])) for n in range(7)]
    binary = load_data([], "mnist-binary", "data")
    assert len(binary.images) == 1000
    assert binary.images[999] == ("0999.png", from_array(np.where(pixels[999] > 127, 255, 0).astype(np.uint8)))
    assert binary.images[0][1].pixels[0].tolist() == [0, 255, 255]

    rows = np.random.default_rng(1).integers(0, 256, (5, 3073)).astype(np.uint8)
    for name in ("test_batch", *(f"data_batch_{n}" for n in range(1, 6))):
        (work / "data" / f"{name}.bin").write_bytes((rows if name == "test_batch" else rows // 2).tobytes())
    colour = load_data([], "cifar10", "data", 2)
    assert [image.mode for _, image in colour.images] == ["RGB", "RGB"]
    assert np.array_equal(colour.images[1][1].pixels[:, :, 2].ravel(), rows[1, 1 + 2048 :])


def test_what_to_give() -> None:
    wanted = "bbc: error: give either images and folders or --data mnist|mnist-binary|cifar10"
    assert fail() == wanted
    assert fail(str(DIGITS), "--data", "mnist") == wanted
    assert "none.png: no such file" in fail("none.png")
    assert "CIFAR-10 is not here" in fail("--data", "cifar10")
    assert "there is no model none" in fail(str(DIGITS), "-m", "none")


# --- Measuring -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Result, Path]]:
    """What the command prints and writes for a few digits."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("results")
        patch.chdir(folder)
        patch.setenv("BBC_MODELS", str(DATA / "models"))
        patch.setattr("bbcompress.models.zoo.shipped_model_folders", lambda: [])
        files = ["--json", "out.json", "--plot", "out.svg", "--plot", "out.png"]
        result = run(str(DIGITS), "--images", str(IMAGES), "-K", "0..2", "--repeat", "2", "--lr", "0.01", *files)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in folder.iterdir()) == ["out.json", "out.png", "out.svg"]
    yield result, folder


@pytest.fixture
def description(results: tuple[Result, Path]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((results[1] / "out.json").read_text())
    return found


def test_sizes_are_those_of_files(description: dict[str, Any]) -> None:
    images = [(name, read_image(readable(path))) for name, path, _ in find_images([str(DIGITS)])[:IMAGES]]
    assert [(row["encoder"], row["K"]) for row in description["results"]] == ROWS
    for row in description["results"]:
        options = Options(encoder=row["encoder"], k=row["K"], learning_rate=0.01)
        assert row["bytes"] == archive_size(images, options)
        assert row["bits_per_subpixel"] == 8 * row["bytes"] / (784 * IMAGES)
    assert len({row["bytes"] for row in description["results"]}) > 2  # the options do matter


def test_net_rates_are_below_those_of_files(description: dict[str, Any]) -> None:
    for row in description["results"]:
        assert 0.5 * row["bits_per_subpixel"] < row["net_bits_per_subpixel"] < row["bits_per_subpixel"]
    assert len({row["net_bits_per_subpixel"] for row in description["results"]}) == len(ROWS)


def test_json(description: dict[str, Any]) -> None:
    assert description["data"] == {
        "name": str(DIGITS), "images": IMAGES, "subpixels": 784 * IMAGES, "shapes": {"28x28 L": IMAGES}
    }  # fmt: skip
    assert description["schedule"] == {
        "encoders": ["baseline", "rha"], "K": [0, 1, 2], "model": None, "learning_rate": 0.01, "repeats": 2,
        "net_samples": NET_SAMPLES,
    }  # fmt: skip
    assert set(description["machine"]) == {
        "date", "processor", "machine", "cores", "system", "python", "packages", "load_average"
    }  # fmt: skip
    assert description["machine"]["packages"]["numpy"] == np.__version__
    for row in description["results"]:
        for name in ("compress", "decompress"):
            times = row[f"{name}_seconds_per_image"]
            assert len(times["all"]) == 2
            assert 0 < times["best"] == min(times["all"]) <= times["median"] == pytest.approx(sum(times["all"]) / 2)
        (group,) = row["groups"]
        assert row["coders"] == {group["model"]: IMAGES}
        assert (group["encoder"], group["K"], group["images"]) == (row["encoder"], row["K"], IMAGES)
        assert group["learning_rate"] == (0.01 if row["K"] else None)
        assert group["id"].startswith("641adb16")


def test_what_follows_is_in_the_json(description: dict[str, Any]) -> None:
    rows = {(row["encoder"], row["K"]): row for row in description["results"]}
    for encoder, gain in description["gain_of_largest_K"].items():
        assert gain == 1 - rows[encoder, 2]["bytes"] / rows[encoder, 0]["bytes"]
    target = rows["rha", 0]
    reached = [k for k in range(3) if rows["baseline", k]["bytes"] <= target["bytes"]]
    found = description["baseline_reaches_rha_at_K_0"]
    if not reached:
        assert found is None
        return
    assert found["K"] == reached[0]
    for name in ("compress", "decompress"):
        times = (rows["baseline", reached[0]], target)
        slow, fast = (row[f"{name}_seconds_per_image"]["best"] for row in times)
        assert found[f"{name}_extra"] == slow / fast - 1


def test_table(results: tuple[Result, Path], description: dict[str, Any]) -> None:
    heading, titles, *lines = results[0].stdout.splitlines()
    assert heading == f"{DIGITS}: {IMAGES} images; {description['machine']['processor']}"
    assert re.split(r"  +", titles) == [
        "encoder", "K", "bytes", "bits/dim", "net", "compress ms (median)", "decompress ms (median)", "coded by"
    ]  # fmt: skip
    for line, row in zip(lines, description["results"], strict=False):
        times = [row[f"{name}_seconds_per_image"] for name in ("compress", "decompress")]
        assert re.split(r"  +", line) == [
            row["encoder"], str(row["K"]), str(row["bytes"]), f"{row['bits_per_subpixel']:.4f}",
            f"{row['net_bits_per_subpixel']:.4f}", *(f"{1e3 * t['best']:.3f} ({1e3 * t['median']:.3f})" for t in times),
            f"{IMAGES} by {row['groups'][0]['model']}",
        ]  # fmt: skip
    assert len([line for line in lines if "busy machine" not in line]) == len(ROWS) + 3
    assert lines[6].startswith("baseline: ") and lines[7].startswith("rha: ")
    assert lines[8].startswith("baseline ") and "rha's size at K = 0" in lines[8]


def test_plots(results: tuple[Result, Path], description: dict[str, Any]) -> None:
    assert (results[1] / "out.png").read_bytes().startswith(PNG_SIGNATURE)
    svg = (results[1] / "out.svg").read_text()
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert f"{DIGITS}: {IMAGES} images; {description['machine']['processor']}" in texts
    assert "per cent of baseline, K=0" in texts
    assert any(description["machine"]["date"] in words and "models as installed" in words for words in texts)
    assert {"milliseconds an image to compress", "milliseconds an image to decompress", "baseline", "rha"} <= set(texts)
    assert [texts.count(f"K={k}") for k in range(3)] == [4, 4, 4]  # two encoders, two panels
    assert "<dc:date>" not in svg


def test_labels_of_a_plot_lie_inside_and_none_over_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where points lie close together."""
    from matplotlib.text import Annotation

    from bbcompress.bench import plot as plots

    found: list[list[tuple[float, float, float, float]]] = []
    place = plots._place

    def watched(axes: Any, labels: Any, renderer: Any) -> None:
        place(axes, labels, renderer)
        words = [child for child in axes.get_children() if isinstance(child, Annotation)]
        boxes = [word.get_window_extent(renderer) for word in words]
        frame = axes.get_window_extent(renderer)
        assert all(frame.x0 < b.x0 and b.x1 < frame.x1 and frame.y0 < b.y0 and b.y1 < frame.y1 for b in boxes)
        found.append([(box.x0, box.y0, box.x1, box.y1) for box in boxes])

    monkeypatch.setattr(plots, "_place", watched)
    rows = [Row(encoder, k, 100, 2 - 0.001 * k, None, (1 + 0.01 * k,), (1.0,), {}, [], None)
            for encoder in ("baseline", "rha") for k in range(12)]  # fmt: skip
    plot(Report(digits(2), Schedule(k=tuple(range(12))), {"processor": "p", "cores": 2}, rows), "png")
    assert len(found) == 2 and len(found[0]) > 6
    for boxes in found:
        for number, (left, bottom, right, top) in enumerate(boxes):
            for x0, y0, x1, y1 in boxes[number + 1 :]:
                assert left >= x1 or x0 >= right or bottom >= y1 or y0 >= top


def test_time_is_that_of_writing_and_of_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock of one second a look."""
    looks = iter(range(10**6))
    monkeypatch.setattr("time.perf_counter", lambda: float(next(looks)))
    report = measure(digits(4), Schedule(("rha",), (0,), repeats=3))
    assert report.rows[0].compress == (1 / 4,) * 3
    assert report.rows[0].decompress == (2 / 4,) * 3  # the index, and a group


def test_progress_and_kernels_compiled_before() -> None:
    seen: list[Row] = []
    limits = []

    def watch(row: Row) -> None:
        seen.append(row)
        limits.append(kernel_cache.MAX_INTERPRETED)

    report = measure(digits(3), Schedule(k=(0, 1)), watch)
    assert seen == report.rows
    assert limits == [-1] * 4
    seen = []
    report = measure(digits(3), Schedule(("rha",), (0, 1), repeats=2), lambda row: seen.append(row))
    assert [(row.k, len(row.compress), len(row.decompress)) for row in seen] == [
        (0, 1, 1), (1, 1, 1), (0, 2, 2), (1, 2, 2)
    ]  # fmt: skip
    assert seen[2:] == report.rows
    assert [row.compress[0] for row in report.rows] == [row.compress[0] for row in seen[:2]]
    assert re.fullmatch(
        r"rha, K = 0: \d+ bytes, \d\.\d{4} bits/dim, [\d.]+ ms an image to compress, [\d.]+ to decompress",
        format_row(seen[0]),
    )


@pytest.mark.parametrize("damage", ["pixel", "order", "error", "names"])
def test_a_wrong_image_is_an_error(damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    decode = decode_images

    def wrong(*arguments: Any, **options: Any) -> list[PixelImage]:
        images = decode(*arguments, **options)
        if damage == "error":
            raise FormatError("damaged")
        if damage in ("order", "names"):
            return images[::-1] if damage == "order" else images
        pixels = images[-1].pixels.copy()
        pixels[-1, -1] ^= 255
        return [*images[:-1], replace(images[-1], pixels=pixels)]

    monkeypatch.setattr(bench, "decode_images", wrong)
    if damage == "names":
        monkeypatch.setattr(ArchiveFile, "names", ["other.png"] * 3)
    line = fail(str(DIGITS), "--images", "3", "-K", "0", "--json", "out.json", "--plot", "out.svg")
    reason = "baseline, K = 0: the images did not come back from the file as they were; please report this"
    assert line == f"bbc: error: {reason}"


@pytest.mark.parametrize("call", [1, 3])
def test_interrupted(call: int, monkeypatch: pytest.MonkeyPatch) -> None:
    decode, calls = decode_images, iter(range(1, 100))

    def interrupting(*arguments: Any, **options: Any) -> list[PixelImage]:
        if next(calls) == call:
            raise KeyboardInterrupt
        return decode(*arguments, **options)

    monkeypatch.setattr(bench, "decode_images", interrupting)
    result = run(str(DIGITS), "--images", "3", "-K", "0", "--json", "out.json", "--plot", "out.svg")
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr.endswith("bbc: interrupted\n")
    assert not list(Path().iterdir())


def test_mixed_images(work: Path) -> None:
    """Of several sizes, two of them alone, with one for the fallback: no net rate, and it is said."""
    folder = work / "set"
    folder.mkdir()
    for number in range(3):
        shutil.copy(DIGITS / f"000{number}.png", folder)
    Image.fromarray(np.arange(60, dtype=np.uint8).reshape(4, 5, 3)).save(folder / "colour.png")
    shutil.copy(DATA / "digits" / "grey" / "0000.png", folder / "grey.png")
    data = load_data(["set"], None, "")
    report = measure(data, Schedule(k=(0, 1)))
    for row in report.rows:
        assert row.net_bpd is None
        assert "net_bits_per_subpixel" not in row.as_json()
        codec = item_codec(encode_item(read_image(folder / "colour.png")))
        assert row.coders == {f"fallback {codec}": 1, "tiny-binary": 3, "tiny-grey": 1}
        assert row.size == archive_size(data.images, Options(encoder=row.encoder, k=row.k))
    text = format_report(report)
    assert " net " not in text
    assert "note: the fallback took 1 of 5 images; encoder and K do not change its size or time" in text
    assert "note: 1 of 5 images, alone of their size, were coded without encoder and K" in text


def test_several_models_of_one_size_have_no_net_rate() -> None:
    images = [(kind, read_image(DATA / "digits" / kind / "0000.png")) for kind in ("binary", "grey")]
    (row,) = measure(Data("two", images), Schedule(("rha",), (0,))).rows
    assert row.coders == {"tiny-binary": 1, "tiny-grey": 1}
    assert row.net_bpd is None


def test_one_model_of_several_sizes_has_no_net_rate() -> None:
    paths = [str(DATA / "local" / name) for name in ("small.png", "middle-0.png")]
    (row,) = measure(load_data(paths, None, ""), Schedule(("rha",), (0,), model="tiny-local")).rows
    assert row.coders == {"tiny-local": 2}
    assert row.net_bpd is None


def test_images_of_a_local_model() -> None:
    """Whose blocks are strips: the net rate is of the same strips."""
    paths = [str(DATA / "local" / f"middle-{number}.png") for number in range(2)]
    images = load_data(paths, None, "").images
    report = measure(Data("local", images), Schedule(("rha",), (0, 1), model="tiny-local"))
    for row in report.rows:
        assert row.coders == {"tiny-local": len(images)}
        assert row.net_bpd is not None
        assert 0.5 * row.bpd < row.net_bpd < row.bpd


# --- What follows from it ------------------------------------------------------------------------


def made_row(encoder: str, steps: int, size: int, compress: float, decompress: float) -> Row:
    return Row(encoder, steps, size, 8 * size / 784, None, (compress, 9.0), (9.0, decompress), {"m": 1}, [], None)


def made_report(*rows: Row) -> Report:
    schedule = Schedule(
        encoders=tuple(dict.fromkeys(row.encoder for row in rows)), k=tuple(sorted({row.k for row in rows}))
    )
    return Report(digits(1), schedule, {"processor": "Abacus $1$ 2_3", "cores": 2}, list(rows))


def test_findings() -> None:
    baseline = [made_row("baseline", *values) for values in ((0, 200, 1, 2), (1, 190, 2, 3), (2, 150, 4, 5))]
    report = made_report(*baseline, made_row("rha", 0, 190, 1, 2), made_row("rha", 2, 152, 3, 3))
    assert format_findings(report) == [
        "baseline: -25.00% bytes with K = 2 against K = 0",
        "rha: -20.00% bytes with K = 2 against K = 0",
        "baseline reaches rha's size at K = 0, 190 bytes, with K = 1: +100.0% time to compress, +50.0% to decompress",
    ]
    assert report.gain("rha") == pytest.approx(0.2)
    never = made_report(*baseline, made_row("rha", 0, 149, 1, 2), made_row("rha", 2, 149, 1, 2))
    assert format_findings(never)[1:] == [
        "rha: +0.00% bytes with K = 2 against K = 0",
        "baseline does not reach rha's size at K = 0, 149 bytes",
    ]
    assert never.as_json()["baseline_reaches_rha_at_K_0"] is None
    alone = made_report(baseline[0])
    assert format_findings(alone) == []
    assert "baseline_reaches_rha_at_K_0" not in alone.as_json()


def test_a_note_of_the_fallback_in_some_rows() -> None:
    rows = [replace(made_row("rha", k, 100, 1, 1), coders={"fallback PNG": k} if k else {"m": 1}) for k in (0, 1)]
    assert "note: the fallback took 0 to 1 of 1 images" in "\n".join(format_findings(made_report(*rows)))


def test_a_note_of_a_busy_machine() -> None:
    rows = [replace(made_row("rha", k, 100, 1, 1), load=load) for k, load in enumerate((3.5, None))]
    note = "note: the load average was up to 3.5 on 2 cores: times are those of a busy machine"
    assert format_findings(made_report(*rows))[-1] == note
    assert note not in format_findings(made_report(rows[1]))
    assert len(format_findings(made_report(replace(rows[0], load=3.0)))) == 0


def test_an_svg_is_reproducible() -> None:
    report = made_report(made_row("rha", 0, 200, 1, 2), made_row("rha", 1, 190, 2, 3))
    svg = plot(report, "svg")
    assert svg == plot(report, "svg")
    assert b"1 image; Abacus $1$ 2_3<" in svg  # no mathematics


# --- Files ---------------------------------------------------------------------------------------


def nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("measured in vain")

    monkeypatch.setattr(bench, "measure", refuse)


def test_targets_are_checked_before(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing_is_measured(monkeypatch)
    Path("there.json").write_text("mine")
    Path("there.svg").write_text("mine")
    assert "there.json exists; --force overwrites it" in fail(str(DIGITS), "--json", "there.json")
    assert "there.svg exists; --force overwrites it" in fail(str(DIGITS), "--plot", "there.svg")
    for name in ("plot.pdf", "plot"):
        assert f"{name}: a plot's name ends with .png or .svg" in fail(str(DIGITS), "--plot", name)
    assert "there is no folder none" in fail(str(DIGITS), "--json", "none/out.json")
    assert "each file needs a name of its own" in fail(str(DIGITS), "--plot", "a.svg", "--plot", "a.svg")


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    arguments = [str(DIGITS), "--images", "2", "-K", "0", "--encoders", "rha"]
    assert run(*arguments).exit_code == 0
    nothing_is_measured(monkeypatch)
    assert fail(*arguments, "--plot", "a.svg") == "bbc: error: a plot needs matplotlib: pip install 'bbcompress[plot]'"


def test_force_and_quiet() -> None:
    Path("out.json").write_text("old")
    result = run(str(DIGITS), "--images", "2", "-K", "0", "--encoders", "rha", "--json", "out.json", "-f", "-q")
    assert (result.exit_code, result.output) == (0, "")
    assert json.loads(Path("out.json").read_text())["data"]["images"] == 2


# --- The process ---------------------------------------------------------------------------------

PROGRAM = """
import sys
from bbcompress.cli import main
try:
    main(prog_name="bbc")
finally:
    print(*(name for name in ("torch", "matplotlib", "numpy") if name in sys.modules), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("arguments", "imported"),
    [(["--help"], ""), ([str(DIGITS), "--images", "2", "-K", "0", "--encoders", "rha"], "numpy")],
)
def test_what_is_imported(arguments: list[str], imported: str) -> None:
    command = [sys.executable, "-c", PROGRAM, "bench", *arguments]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stderr.splitlines()[-1] == imported
