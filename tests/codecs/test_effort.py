"""Effort: what each tries, and that more of it never gives more bytes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from models_for_tests import sampled_strips, tiny_local
from PIL import Image

import bbcompress as bbc
from bbcompress.archive.group import Group
from bbcompress.archive.header import GroupHeader
from bbcompress.cli import main
from bbcompress.codecs import choose, learned, ways
from bbcompress.codecs.effort import LADDER, Plan, plan_for
from bbcompress.codecs.parts import choose_in_parts
from bbcompress.codecs.progress import Passes, Progress
from bbcompress.codecs.settings import CodingRequest, CodingSettings
from bbcompress.errors import BBCError
from bbcompress.images.image import PixelImage
from bbcompress.limits import DEFAULT_EFFORT, LEAST_EFFORT, MOST_EFFORT
from bbcompress.models.checkpoint import save
from bbcompress.pipeline import compressor
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.options import Options, open_models
from bbcompress.pipeline.reader import Reader

DATA = Path(__file__).resolve().parents[1] / "data"
EFFORTS = range(LEAST_EFFORT, MOST_EFFORT + 1)
PHOTO = np.asarray(Image.open(DATA / "photos" / "landscape.png").convert("RGB"))
MODELS = open_models("photo")
TINY = tiny_local()


def crop(top: int, left: int, height: int, width: int) -> PixelImage:
    return bbc.from_array(np.ascontiguousarray(PHOTO[top : top + height, left : left + width]))


def drawn(height: int, width: int, seed: int) -> PixelImage:
    """An image of the tiny model, which does not gain by learning."""
    return PixelImage("RGB", sampled_strips(TINY, 1, height, width, seed=seed).canvas.images[0].astype(np.uint8))


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small model, for which images of more than 100 pixels are large enough to be learned from."""
    monkeypatch.setattr(choose, "MIXED_PIXELS", 100)
    monkeypatch.setattr(choose, "SOLID_IMAGE_PIXELS", 5_000)
    monkeypatch.setattr(compressor, "SOLID_PIXELS", {False: 9_000, True: 20_000})
    monkeypatch.setattr(learned, "LEAST_PIXELS", 100)
    monkeypatch.setattr(learned, "SAMPLE_SIDE", 24)
    save(TINY, tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.fixture
def no_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    """The small model codes photographs in more bytes than the fallback."""
    monkeypatch.setattr(ways.ByFallback, "may_win", lambda *_: False)


def lone(image: PixelImage, effort: int, model: Path | None = None) -> bytes:
    models = MODELS if model is None else open_models(model)
    return Compressor(Options(model, effort=effort, verify=False), models).lone(image)[0]


def archived(images: Sequence[PixelImage], effort: int, **options: Any) -> bytes:
    out = io.BytesIO()
    Compressor(Options(effort=effort, verify=False, **options)).archive([(None, image) for image in images], out)
    return out.getvalue()


def read(data: bytes, model: Path | None = None) -> list[PixelImage]:
    models = MODELS if model is None else open_models(model)
    found = dict(Reader(io.BytesIO(data), models).images())
    return [found[position] for position in sorted(found)]


def learns(data: bytes, model: Path | None = None) -> list[bool]:
    models = MODELS if model is None else open_models(model)
    return ["learning" in group for group in Reader(io.BytesIO(data), models).describe()["groups"]]


@pytest.mark.usefixtures("no_fallback")
def test_more_effort_never_makes_a_lone_image_larger(tiny: Path) -> None:
    image = crop(20, 30, 48, 40)
    files = [lone(image, effort, tiny) for effort in EFFORTS]
    sizes = [len(data) for data in files]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[DEFAULT_EFFORT - 1] < sizes[0]
    assert all(read(data, tiny) == [image] for data in files)


@pytest.mark.usefixtures("tiny", "no_fallback")
def test_more_effort_never_makes_an_image_of_a_shipped_model_larger() -> None:
    image = crop(60, 10, 48, 96)
    files = [Compressor(Options(effort=effort, verify=False)).lone(image)[0] for effort in (1, 2, 3, 5, 9)]
    sizes = [len(data) for data in files]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[4] < sizes[3] < sizes[2] < sizes[0]
    assert read(files[4]) == [image]


@pytest.mark.usefixtures("no_fallback")
def test_more_effort_never_makes_an_archive_larger(tiny: Path) -> None:
    """Of photographs that gain by learning, of images that do not, of small ones and of a flat one."""
    images = [
        *(crop(10 * number, 30, 40 + number % 2, 32) for number in range(3)),
        drawn(30, 40, 1),
        *(crop(20 * number, 30, 9, 8 + number) for number in range(3)),
        bbc.from_array(np.full((20, 20, 3), 7, np.uint8)),
    ]
    files = [archived(images, effort, model=tiny) for effort in (1, 3, 4, 5, 6, 9)]
    sizes = [len(data) for data in files]
    assert sizes == sorted(sizes, reverse=True)
    assert not any(learns(files[0], tiny))
    assert any(learns(files[3], tiny))
    assert all(read(data, tiny) == images for data in (files[0], files[3], files[-1]))
    small_groups = archived(images, DEFAULT_EFFORT, model=tiny, solid=False)
    assert read(small_groups, tiny) == images


def test_samples_of_16_bits_have_their_codec_from_effort_3_on() -> None:
    y, x = np.mgrid[:32, :24]
    noise = np.random.default_rng(0).integers(0, 40, (32, 24))
    image = bbc.from_array((900 + 30 * x + 20 * y + noise).astype(np.uint16))
    files = {effort: Compressor(Options(effort=effort), MODELS).lone(image) for effort in EFFORTS}
    for effort, (data, summary) in files.items():
        (coder,) = summary.coders
        assert (coder == f"{ways.FALLBACK} deep") == (effort >= 3)
        assert read(data) == [image]
    sizes = [len(data) for data, _ in files.values()]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == sizes[1] > sizes[2] == sizes[-1]


def test_the_fallback_is_taken_at_every_effort(tiny: Path) -> None:
    """Where it is far smaller models do not learn."""
    images = [crop(10 * number, 30, 60 + number, 64) for number in range(3)]
    for effort in (1, 5):
        summary = Compressor(Options(tiny, effort=effort)).archive([(None, image) for image in images], io.BytesIO())
        assert all(name.startswith(ways.FALLBACK) for name in summary.coders)
    flat = Compressor(Options(tiny)).lone(bbc.from_array(np.full((40, 40, 3), 7, np.uint8)))[1]
    assert "learning not tried, as the fallback is far smaller" in flat.tried[0]


def test_a_sample_chooses_the_same_model_at_all_but_the_greatest_effort(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first model is better on the sample, the other on all images."""
    images = [crop(5 * number, 30, 32, 32) for number in range(6)]
    models = open_models()
    fit = choose.fit_of(images[0], models)
    first, other = [entry.name for entry in fit.entries]
    encoded: list[tuple[str, int]] = []

    def encode(way: ways.ByModel, images: Sequence[PixelImage], progress: Progress) -> ways.Coded:
        name, count = way.entry.name, len(images)
        encoded.append((name, count))
        group = Group(GroupHeader(fallback=True), bytes(50 + 10 * (name == first) * (count - 4)))
        return ways.Coded(name, group, range(count))

    monkeypatch.setattr(choose, "SAMPLE", 3)
    monkeypatch.setattr(ways.ByModel, "encode", encode)
    monkeypatch.setattr(ways.ByFallback, "may_win", lambda *_: False)
    for effort in EFFORTS:
        (coded,) = choose_in_parts(images, fit, models, CodingRequest(effort), Passes(images, None))
        assert coded.coder == (other if effort == MOST_EFFORT else first)
        assert set(encoded) >= {(first, 6), (other, 6 if effort == MOST_EFFORT else 3)}
        encoded.clear()


def test_great_efforts_try_all_that_smaller_ones_try() -> None:
    plans = [LADDER[effort] for effort in EFFORTS]
    for fewer, more in pairwise(plans):
        assert set(fewer.frozen) <= set(more.frozen)
        if fewer.learned:
            assert fewer.least_expected >= more.least_expected
            assert fewer.least_gain >= more.least_gain
    for fewer, more in pairwise(plans[DEFAULT_EFFORT - 1 :]):
        assert set(fewer.learned) < set(more.learned)
        assert set(fewer.frozen) < set(more.frozen)
    assert LADDER[3].learned == LADDER[4].learned
    assert set(LADDER[3].learned) < set(LADDER[MOST_EFFORT].learned)
    for plan in plans:
        assert plan.frozen[0] == CodingSettings()
        assert not any(way.learn for way in plan.frozen)
        assert all(way.learn for way in plan.learned)
        assert len(set(plan.frozen + plan.learned)) == len(plan.frozen + plan.learned)


def test_what_is_asked_for_is_so_in_all_ways() -> None:
    def asked(**named: Any) -> list[CodingSettings]:
        plans = [plan_for(CodingRequest(effort, **named)) for effort in EFFORTS]
        return [way for plan in plans for way in plan.frozen + plan.learned]

    assert {way.k for way in asked(k=3)} == {3}
    assert {way.k for way in asked()} == {0, 4, 10}
    assert {way.encoder for way in asked(encoder="baseline")} == {"baseline"}
    assert {way.learning_rate for way in asked(learning_rate=7)} == {7}
    assert {way.learn for way in asked(learn=False)} == {False}
    for effort in EFFORTS:
        plan = plan_for(CodingRequest(effort, learn=True))
        assert plan.must_learn
        assert plan.learned


@pytest.mark.usefixtures("no_fallback")
def test_learning_that_saves_little_is_not_taken_by_small_efforts(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much a trial expects of it."""
    image = crop(20, 30, 48, 40)
    monkeypatch.setattr(choose, "expected_gain", lambda *_: 1.0)
    frozen, coded = len(lone(image, 1, tiny)), lone(image, 4, tiny)
    assert learns(coded, tiny) == [True]
    saved = 1 - len(coded) / frozen
    for least, taken in ((saved - 1e-3, True), (saved + 1e-3, False)):
        monkeypatch.setitem(LADDER, 4, Plan((CodingSettings(),), LADDER[4].learned, least_gain=least))
        assert learns(lone(image, 4, tiny), tiny) == [taken]


@pytest.mark.usefixtures("no_fallback")
def test_learning_is_not_tried_where_a_trial_expects_too_little(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = crop(20, 30, 48, 40)
    monkeypatch.setattr(choose, "expected_gain", lambda *_: 0.01)
    assert [learns(lone(image, effort, tiny), tiny)[0] for effort in (1, 3, 4, 5)] == [False, False, True, True]
    monkeypatch.setattr(choose, "expected_gain", lambda *_: -0.01)
    assert [learns(lone(image, effort, tiny), tiny)[0] for effort in (5, 8, 9)] == [False, False, True]


@pytest.mark.usefixtures("no_fallback")
def test_what_turns_out_larger_is_coded_without_learning(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial that expects little may mislead: then the whole image decides, unless learning is asked for."""
    monkeypatch.setattr(choose, "expected_gain", lambda *_: 0.04)
    monkeypatch.setattr(learned, "RATE", 1_000_000)
    image = crop(20, 30, 48, 40)
    assert learns(lone(image, DEFAULT_EFFORT, tiny), tiny) == [False]
    forced = Compressor(Options(tiny, learn=True, verify=False)).lone(image)[0]
    assert learns(forced, tiny) == [True]


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[CodingSettings]:
    """The settings by which models code, one after the other."""
    settings: list[CodingSettings] = []
    honest = ways.ByModel.encode

    def encode(way: ways.ByModel, images: Sequence[PixelImage], progress: Progress) -> ways.Coded:
        settings.append(way.settings)
        return honest(way, images, progress)

    monkeypatch.setattr(ways.ByModel, "encode", encode)
    return settings


@pytest.mark.parametrize("gain", [0.04, 0.06, 0.2, inf])
def test_a_trial_that_leaves_no_doubt_decides(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, encoded: list[CodingSettings], gain: float
) -> None:
    """Of photographs; `inf` says that there was no trial."""
    monkeypatch.setattr(choose, "expected_gain", lambda *_: gain)
    image = crop(20, 30, 48, 40)
    for effort in (3, 4, 5, 6):
        encoded.clear()
        data, summary = Compressor(Options(tiny, effort=effort, verify=False), open_models(tiny)).lone(image)
        assert read(data, tiny) == [image]
        sure = LADDER[effort].sure_gain <= gain < inf
        assert any(not way.learn for way in encoded) == (not sure)
        assert any(way.learn for way in encoded)
        assert ("without learning not tried, as a trial expects" in summary.tried[0]) == sure
    encoded.clear()
    archived([image, crop(30, 10, 40, 48)], DEFAULT_EFFORT, model=tiny)
    assert any(not way.learn for way in encoded) == (not 0.05 <= gain < inf)


def test_of_a_drawing_a_trial_alone_is_not_believed(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, encoded: list[CodingSettings]
) -> None:
    """The fallback is far smaller: it costs little to see that, and learning would cost much."""
    monkeypatch.setattr(choose, "expected_gain", lambda *_: 0.5)
    pixels = np.full((60, 50, 3), 7, np.uint8)
    pixels[20:40, 10:30] = 200
    for images in ([bbc.from_array(pixels)], [crop(20, 30, 48, 40), bbc.from_array(pixels)]):
        encoded.clear()
        archived(images, DEFAULT_EFFORT, model=tiny)
        assert any(not way.learn for way in encoded)


def test_the_least_effort_tries_one_model_that_does_not_learn(encoded: list[CodingSettings]) -> None:
    image = crop(10, 10, 32, 32)  # of which `cifar10` and `photo` are candidates
    models = open_models()
    assert len(choose.fit_of(image, models).entries) > 1
    Compressor(Options(effort=1, verify=False), models).lone(image)
    assert encoded == [CodingSettings()]


@pytest.mark.usefixtures("tiny", "no_fallback")
def test_a_quick_model_stands_in_at_the_lowest_efforts() -> None:
    """It learns at effort 2, and where it is asked to; a model that is asked for is taken in its place."""
    image = bbc.from_array(crop(60, 10, 64, 96).pixels.repeat(2, 0).repeat(2, 1))
    models = open_models()
    files = {effort: Compressor(Options(effort=effort, verify=False), models).lone(image)[0] for effort in (1, 2, 3)}
    found = {effort: Reader(io.BytesIO(data), models).describe()["groups"][0] for effort, data in files.items()}
    assert [found[effort]["model"] for effort in (1, 2, 3)] == ["photo-fast", "photo-fast", "photo"]
    assert ["learning" in found[effort] for effort in (1, 2)] == [False, True]
    assert all(read(data) == [image] for data in files.values())
    named = Compressor(Options("photo", effort=1, verify=False)).lone(image)[0]
    assert Reader(io.BytesIO(named), models).describe()["groups"][0]["model"] == "photo"


def test_of_a_noisy_photograph_effort_3_is_no_larger_than_effort_2() -> None:
    """Learning saves little of it: both efforts ask for the same share."""
    noise = np.random.default_rng(0).normal(0, 12, (128, 160, 3))
    pixels = np.clip(np.rint(crop(10, 10, 128, 160).pixels + noise), 0, 255).astype(np.uint8)
    sizes = [len(Compressor(Options(effort=effort, verify=False)).lone(bbc.from_array(pixels))[0]) for effort in (2, 3)]
    assert sizes[0] >= sizes[1]


def test_reading_grey_at_effort_2_takes_what_it_takes_at_effort_1() -> None:
    models, image = open_models(), PixelImage("L", np.zeros((300, 300), np.uint8))
    first, second, third = (
        choose.cost_of_reading(choose.fit_of(image, models, request), models, request)
        for request in map(CodingRequest, (1, 2, 3))
    )
    assert first == second < third


@pytest.mark.usefixtures("tiny", "no_fallback")
def test_at_effort_2_only_quick_models_learn(encoded: list[CodingSettings]) -> None:
    Compressor(Options("photo", effort=2, verify=False)).lone(crop(60, 10, 64, 96))
    assert encoded == [CodingSettings()]


def test_what_was_tried_is_told(tiny: Path) -> None:
    _, summary = Compressor(Options(tiny, verify=False)).lone(crop(20, 30, 48, 40))
    (line,) = summary.tried
    assert "1 image: " in line
    for words in ("tiny-local ", "fallback ", " learning every 128 pixels "):
        assert words in line
    assert line.endswith("; fallback is taken")


@pytest.mark.parametrize("verify", [False, True])
def test_progress_moves_and_ends_once(tiny: Path, monkeypatch: pytest.MonkeyPatch, verify: bool) -> None:
    """Of an image that is coded without learning and with it, and of an archive of such."""
    monkeypatch.setattr(choose, "expected_gain", lambda *_: 0.1)
    images = [crop(20, 30, 40, 30), crop(20, 30, 30, 40), crop(10, 30, 40, 30)]
    for count, effort in ((1, 1), (1, 5), (3, 1), (3, 5), (3, 6)):
        told: list[int] = []
        coding = Compressor(Options(tiny, effort=effort, verify=verify))
        if count == 1:
            coding.lone(images[0], told.append)
        else:
            coding.archive([(None, image) for image in images], io.BytesIO(), told.append)
        assert min(told) > 0
        assert sum(told) == count * 1200
        assert max(told) < sum(told) or (effort == 1 and not verify)


def test_progress_by_costs() -> None:
    told: list[int] = []
    image = crop(0, 0, 10, 10)
    passes = Passes([image, image], told.append)
    passes.plan([image], 1)
    passes.plan([image, image], 3)
    passes.of(1)(100)
    assert sum(told) == 200 * 1 // 7
    passes.of(3)(100)
    assert sum(told) == 200 * 4 // 7
    passes.of(3)(100)
    passes.finish()
    passes.finish()
    assert sum(told) == 200
    assert min(told) > 0


def test_a_digit_alone_is_an_effort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    honest = Compressor.__init__

    def init(compressor: Compressor, options: Options | None = None, *rest: object) -> None:
        assert options is not None
        asked.append(options.effort)
        honest(compressor, options)

    monkeypatch.setattr(Compressor, "__init__", init)
    Image.fromarray(PHOTO[:4, :4]).save(tmp_path / "a.png")
    for words in (["-1"], ["-e", "2"], ["--effort", "9"], ["-f3"], []):
        assert CliRunner().invoke(main, ["compress", *words, "-f", str(tmp_path / "a.png")]).exit_code == 0
    assert asked == [1, 2, 9, 3, DEFAULT_EFFORT]
    assert CliRunner().invoke(main, ["compress", "-e", "10", str(tmp_path / "a.png")]).exit_code == 2


def test_pillow_takes_an_effort(tmp_path: Path) -> None:
    bbc.register_pillow()
    Image.fromarray(PHOTO[:4, :4]).save(tmp_path / "a.bbc", effort=1)
    with pytest.raises(BBCError, match="effort"):
        Image.fromarray(PHOTO[:4, :4]).save(tmp_path / "b.bbc", effort=10)
