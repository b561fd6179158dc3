"""Compressing and decompressing from Python: kinds of images, groups, models, options, what is refused."""

from __future__ import annotations

import io
import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fixtures_for_tests import decode_by
from models_for_tests import noise_strips, sampled_strips, tiny_local, tiny_resnet

from bbcompress.api import compress, decompress
from bbcompress.archive.group import Group
from bbcompress.archive.header import GroupHeader
from bbcompress.codecs import blocks, choose, ways
from bbcompress.codecs.fallback import items
from bbcompress.codecs.fallback.items import encode_item, item_codec
from bbcompress.codecs.ways import FALLBACK
from bbcompress.errors import BBCError, FormatError, ImageError, ModelError
from bbcompress.exact.registry import DISTRIBUTIONS
from bbcompress.images.image import PixelImage, from_array
from bbcompress.images.read import read_image
from bbcompress.limits import Limits
from bbcompress.models.checkpoint import load, save
from bbcompress.models.mlp import MLPWeights
from bbcompress.pipeline import compressor
from bbcompress.pipeline.compressor import NOT_VERIFIED, Compressor
from bbcompress.pipeline.listing import describe_group
from bbcompress.pipeline.options import Options, Summary, is_fallback, open_models
from bbcompress.pipeline.reader import Reader
from bbcompress.system.jobs import Workers

DATA = Path(__file__).resolve().parent / "data"
MODELS = DATA / "models"
OVERHEAD = 14
"""Bytes that one small image may cost on top of its message."""

Named = tuple[str | None, PixelImage]


@pytest.fixture(autouse=True)
def tiny_models(no_models: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The two tiny models and no others are installed."""
    monkeypatch.setenv("BBC_MODELS", str(MODELS))


def digits(kind: str, *numbers: int) -> list[PixelImage]:
    return [read_image(DATA / "digits" / kind / f"{number:04}.png") for number in numbers]


def levels(image: PixelImage, low: int, high: int) -> PixelImage:
    """A binary digit in two other levels."""
    return from_array(np.where(image.pixels > 127, high, low).astype(np.uint8))


def noise(*shape: int, top: int = 256, dtype: type[np.generic] = np.uint8) -> PixelImage:
    return from_array(np.random.default_rng(0).integers(0, top, shape).astype(dtype))


def photo() -> PixelImage:
    """Smooth colours with some noise."""
    y, x = np.mgrid[0:40, 0:50]
    planes = np.stack([3 * x, 4 * y, x + 2 * y], axis=2) + np.random.default_rng(0).integers(0, 4, (40, 50, 3))
    return from_array(planes.astype(np.uint8))


def palette() -> PixelImage:
    pixels = (np.arange(28 * 28) % 3).astype(np.uint8).reshape(28, 28)
    return PixelImage("P", pixels, palette=bytes(range(9)), transparency=b"\x10")


DIGIT, OTHER_DIGIT = digits("binary", 0, 1)
GREY_DIGIT = digits("grey", 0)[0]

MODEL_CODED = {
    "0 and 255": (DIGIT, "tiny-binary"),
    "0 and 1": (levels(DIGIT, 0, 1), "tiny-binary"),
    "17 and 90": (levels(DIGIT, 17, 90), "tiny-binary"),
    "254 and 255": (levels(DIGIT, 254, 255), "tiny-binary"),
    "black": (levels(DIGIT, 0, 0), None),
    "white": (levels(DIGIT, 255, 255), None),
    "one grey": (levels(DIGIT, 77, 77), None),
    "mode 1": (from_array(DIGIT.pixels > 127), "tiny-binary"),
    "grey": (GREY_DIGIT, "tiny-grey"),
}
STORED = {
    "rgb": photo(),
    "rgba": noise(28, 28, 4),
    "grey and alpha": noise(28, 28, 2),
    "palette": palette(),
    "transparency": PixelImage("L", DIGIT.pixels, transparency=b"\0\0"),
    "16 bits": noise(28, 28, top=65536, dtype=np.uint16),
    "cmyk": PixelImage("CMYK", noise(28, 28, 4).pixels),
    "one pixel": from_array(np.full((1, 1), 255, np.uint8)),
    "one bilevel pixel": from_array(np.ones((1, 1), np.bool_)),
    "one colour": from_array(np.zeros((1, 1, 3), np.uint8)),
    "binary of another size": from_array(DIGIT.pixels[:27]),
    "grey of another size": from_array(np.ascontiguousarray(GREY_DIGIT.pixels.T[:20])),
}


def build(images: Sequence[Named], **options: Any) -> tuple[bytes, Summary]:
    file = io.BytesIO()
    summary = Compressor(Options(**options)).archive(images, file)
    return file.getvalue(), summary


def unnamed(images: Sequence[PixelImage]) -> list[Named]:
    return [(None, image) for image in images]


def check_archive(data: bytes, images: Sequence[Named]) -> None:
    """The file gives the very images and names, in any order of its groups."""
    reader = Reader(io.BytesIO(data))
    assert reader.is_archive
    assert reader.image_count == len(images)
    assert list(reader.names) == [name for name, _ in images]
    found = dict(reader.images())
    assert sorted(found) == list(range(len(images)))
    for position, (_, image) in enumerate(images):
        assert found[position] == image


def groups(data: bytes) -> list[dict[str, Any]]:
    description = Reader(io.BytesIO(data)).describe()
    found: list[dict[str, Any]] = description["groups"]
    assert description["bytes"] == len(data) == sum(description["parts"].values())
    assert description["images"] == sum(group["images"] for group in found)
    return found


# Options


@pytest.mark.parametrize(
    "options",
    [
        {"k": -1},
        {"k": 1001},
        {"encoder": "other"},
        {"learning_rate": 0.0},
        {"learning_rate": 1e-7},
        {"learning_rate": 1.1},
        {"learning_rate": float("nan")},
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(BBCError) as caught:
        Options(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("k", "rate"), [(0, None), (1000, 1e-6), (3, 1.0)])
def test_options_in_range(k: int, rate: float | None) -> None:
    coding = Options(k=k, learning_rate=rate).coding
    assert coding.k == k
    assert coding.learning_rate == (None if rate is None else round(rate * 1e6))


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_a_device_that_cannot_be_used_is_refused(device: str) -> None:
    with pytest.raises(BBCError) as caught:
        Compressor(Options(device=device))
    assert device in str(caught.value)
    assert "\n" not in str(caught.value)


# Lone images


@pytest.mark.parametrize("kind", MODEL_CODED)
def test_lone_image_that_a_model_codes(kind: str) -> None:
    image, model = MODEL_CODED[kind]
    data, summary = Compressor().lone(image)
    reader = Reader(io.BytesIO(data))
    assert [image for _, image in reader.images()] == [image]
    assert not reader.is_archive
    assert (reader.image_count, reader.names) == (1, [None])
    assert (summary.images, summary.subpixels, summary.size) == (1, 784, len(data))
    assert summary.bits_per_dimension == 8 * len(data) / 784
    (group,) = groups(data)
    assert by_kind(summary) == {group["model"]: 1}
    if model is not None:  # images of one colour are nothing to the fallback: either may be smaller
        assert group["model"] == model
        assert len(data) - group["bytes"] <= OVERHEAD
        assert len(data) < len(encode_item(image)) + OVERHEAD


@pytest.mark.parametrize("kind", STORED)
def test_lone_image_that_no_model_fits(kind: str) -> None:
    image = STORED[kind]
    data, summary = Compressor().lone(image)
    assert [image for _, image in Reader(io.BytesIO(data)).images()] == [image]
    assert by_kind(summary) == {FALLBACK: 1}
    item = encode_item(image)
    stored = {item_codec(item): 1}
    assert groups(data) == [{"model": FALLBACK, "images": 1, "bytes": len(item), "stored": stored}]
    assert summary.coders == {f"{FALLBACK} {codec}": 1 for codec in stored}
    assert len(data) <= len(encode_item(image)) + OVERHEAD


@pytest.mark.parametrize("image", [noise(28, 28), levels(noise(28, 28), 0, 255)], ids=["grey", "binary"])
def test_noise_is_stored(image: PixelImage) -> None:
    """What a model codes badly costs no more than the fallback."""
    for images in ([image], [image] * 6):
        stored = sum(len(encode_item(image)) for image in images)
        data, summary = build(unnamed(images))
        assert by_kind(summary) == {FALLBACK: len(images)}
        assert len(data) <= stored + 3 * len(images) + 30
    assert by_kind(Compressor().lone(image)[1]) == {FALLBACK: 1}


def test_arrays() -> None:
    for array in (DIGIT.pixels, GREY_DIGIT.pixels, DIGIT.pixels > 127, noise(5, 4, 3).pixels, noise(5, 4, 4).pixels):
        back = decompress(compress(array))
        assert back.dtype == array.dtype
        assert np.array_equal(back, array)


def test_images_with_their_model_given() -> None:
    data = compress(DIGIT, 4, model=MODELS / "tiny-binary", verify=False)
    assert data == compress(DIGIT.pixels)  # a lone image is coded directly: K has no part in it
    assert np.array_equal(decompress(data, MODELS / "tiny-binary"), DIGIT.pixels)


@pytest.mark.parametrize("array", [np.zeros((2, 2)), np.zeros(4, np.uint8), np.zeros((0, 4), np.uint8)])
def test_arrays_that_are_no_images_are_refused(array: np.ndarray[Any, Any]) -> None:
    with pytest.raises(ImageError):
        compress(array)


def test_decompress_refuses_archives() -> None:
    data, _ = build(unnamed([DIGIT]))
    with pytest.raises(FormatError, match="archive"):
        decompress(data)


# Archives


def test_mixed_archive_keeps_order_and_names() -> None:
    kinds = [*(image for image, _ in MODEL_CODED.values()), *STORED.values(), OTHER_DIGIT, *digits("grey", 1, 2)]
    images: list[Named] = [(f"a/{index % 7}/{index} é.png", image) for index, image in enumerate(kinds)]
    data, summary = build(images)
    check_archive(data, images)
    assert (summary.images, summary.size) == (len(images), len(data))
    assert summary.subpixels == sum(image.samples for image in kinds)
    assert sum(summary.coders.values()) == len(images)
    by_model = {group["model"] for group in groups(data)}
    assert by_model == set(by_kind(summary)) == {"tiny-binary", "tiny-grey", FALLBACK}


@pytest.mark.parametrize(("limit", "value"), [("GROUP_SUBPIXELS", 3 * 784), ("MAX_GROUP_IMAGES", 3)])
def test_groups_split_when_they_are_full(limit: str, value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressor, limit, value)
    images: list[Named] = []
    for binary, grey in zip(digits("binary", *range(7)), digits("grey", *range(7)), strict=True):
        images += [(f"{len(images)}.png", binary), (f"{len(images) + 1}.png", grey)]
    done: list[int] = []
    file = io.BytesIO()
    Compressor().archive(images, file, done.append)
    check_archive(file.getvalue(), images)
    counts = [(group["model"], group["images"]) for group in groups(file.getvalue())]
    assert sorted(counts) == sorted([("tiny-binary", 3), ("tiny-grey", 3)] * 2 + [("tiny-binary", 1), ("tiny-grey", 1)])
    assert sum(done) == 14 * 784
    assert set(np.cumsum(done)) >= {3 * 784, 6 * 784, 9 * 784, 12 * 784, 13 * 784, 14 * 784}


def total(told: list[int]) -> int:
    assert all(pixels > 0 for pixels in told)
    return sum(told)


@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize("image", [DIGIT, GREY_DIGIT, photo(), palette()], ids=["binary", "grey", "photo", "palette"])
def test_progress_tells_of_each_pixel_once(image: PixelImage, verify: bool) -> None:
    pixels = image.width * image.height
    compressor = Compressor(Options(verify=verify))
    told: list[int] = []
    data, _ = compressor.lone(image, told.append)
    assert total(told) == pixels
    file, told = io.BytesIO(), []
    compressor.archive(unnamed([image] * 3), file, told.append)
    assert total(told) == 3 * pixels
    for coded, count in ((data, 1), (file.getvalue(), 3)):
        reader, told = Reader(io.BytesIO(coded)), []
        assert reader.expected_pixels() is None
        for _ in range(2):
            found = list(reader.images(told.append))
            assert total(told) == count * pixels
            assert len(found) == count
            assert reader.expected_pixels() == count * pixels
            told.clear()


def test_progress_of_a_large_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """Band by band, first for coding, then for verification."""
    monkeypatch.setattr(items, "MAX_ITEM_PIXELS", 800)
    monkeypatch.setattr(items, "BAND_PIXELS", 500)
    told: list[int] = []
    data, _ = Compressor().lone(photo(), told.append)
    assert told == [250] * 8
    reader, told = Reader(io.BytesIO(data)), []

    def tell(pixels: int) -> None:
        assert reader.expected_pixels() == 2000
        told.append(pixels)

    ((_, image),) = reader.images(tell)
    assert image == photo()
    assert told == [500] * 4


def test_expected_pixels_are_those_of_the_images_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressor, "GROUP_SUBPIXELS", 1)
    data, _ = build(unnamed([photo(), photo(), noise(10, 20, 4)]))
    reader = Reader(io.BytesIO(data))
    told: list[int] = []
    expected = []
    for _ in reader.images(told.append):
        expected.append(reader.expected_pixels())
    assert expected == [6000, 6000, 4200]
    assert told == [2000, 2000, 200]


def test_large_images_are_probed_before_they_are_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole fallback, which takes its time, is tried only where it may be smaller."""
    tried = []

    def encode(image: PixelImage) -> bytes:
        tried.append(image)
        return encode_item(image)

    monkeypatch.setattr(ways, "encode_item", encode)
    may_win = ways.ByFallback().may_win
    large, small = noise(101, 100), noise(100, 100)
    size = len(encode_item(large))
    for images, payload, preferred in (
        ([large], size * 9 // 10, False),
        ([large], size + 1, True),
        ([large] * 3, 3 * size * 9 // 10, False),
        ([large] * 3, 3 * size + 3, True),
        ([noise(120, 90, top=2, dtype=np.bool_)], 10, True),
    ):
        assert may_win(images, payload) == preferred
    assert not tried
    assert may_win([small], len(encode_item(small)))
    assert not may_win([small], len(encode_item(small)) * 7 // 10)
    assert len(tried) == 2


def test_groups_are_written_as_they_fill(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressor, "GROUP_SUBPIXELS", 784)
    file = io.BytesIO()
    sizes = []

    def images() -> Any:
        for image in digits("binary", 0, 1, 2):
            sizes.append(file.tell())
            yield None, image

    Compressor().archive(images(), file)
    assert sizes == sorted(set(sizes))


def test_archives_one_behind_the_other() -> None:
    first: list[Named] = [("a.png", DIGIT), ("b.png", GREY_DIGIT)]
    second: list[Named] = [("c.png", OTHER_DIGIT)]
    check_archive(build(first)[0] + build(second)[0], first + second)


def test_an_archive_behind_other_bytes_counts_only_itself() -> None:
    file = io.BytesIO(b"before")
    file.seek(0, io.SEEK_END)
    assert Compressor().archive(unnamed([DIGIT]), file).size == len(file.getvalue()) - len(b"before")


def test_an_archive_of_nothing_is_refused() -> None:
    with pytest.raises(ImageError, match="no image"):
        build([])


@pytest.mark.parametrize("name", ["../a.png", "/a.png", "a//b.png", "a\\b.png", "", "C:a.png"])
def test_names_that_leave_the_folder_are_refused(name: str) -> None:
    with pytest.raises(BBCError) as caught:
        build([(name, DIGIT)])
    assert "\n" not in str(caught.value)


def test_a_name_twice_is_refused() -> None:
    with pytest.raises(BBCError, match="two images"):
        build([("a.png", DIGIT), ("b.png", GREY_DIGIT), ("a.png", OTHER_DIGIT)])


@pytest.mark.parametrize("images", [[("a", DIGIT), (None, DIGIT)], [(None, DIGIT), ("a", GREY_DIGIT)]])
def test_names_for_some_images_are_refused(images: list[Named]) -> None:
    with pytest.raises(BBCError, match="all images"):
        build(images)


def test_same_images_same_bytes() -> None:
    images: list[Named] = [(f"{n}", image) for n, image in enumerate([*digits("binary", 0, 1, 2, 3), photo()])]
    assert build(images, k=1) == build(images, k=1)
    compressor = Compressor()
    assert compressor.lone(GREY_DIGIT)[0] == compressor.lone(GREY_DIGIT)[0] == Compressor().lone(GREY_DIGIT)[0]
    assert build(images, verify=False) == build(images, verify=True)


def header_of(data: bytes) -> GroupHeader:
    return Reader(io.BytesIO(data)).file.read_header(0)


@pytest.mark.parametrize("encoder", ["rha", "baseline"])
@pytest.mark.parametrize(("k", "rate"), [(0, None), (2, None), (2, 0.25), (0, 0.25), (2, 0.001)])
def test_encoder_and_steps_are_recorded(encoder: str, k: int, rate: float | None) -> None:
    images = unnamed(digits("binary", *range(12)))
    data, _ = build(images, encoder=encoder, k=k, learning_rate=rate)
    check_archive(data, images)
    (group,) = groups(data)
    assert (group["encoder"], group["K"], group["lanes"]) == (encoder, k, 1)
    assert group["direct"] + sum(group["batches"]) == 12
    assert group["batches"]  # else the encoder had no part in it
    # A rate without steps means nothing, and 0.001 is the model's own.
    assert header_of(data).learning_rate == (250_000 if k and rate == 0.25 else None)


def test_encoder_and_steps_change_the_file() -> None:
    images = unnamed(digits("binary", *range(12)))
    choices: list[dict[str, Any]] = [
        {},
        {"encoder": "baseline"},
        {"k": 1},
        {"k": 2},
        {"k": 2, "learning_rate": 0.25},
    ]
    files = [build(images, **options)[0] for options in choices]
    assert len(set(files)) == len(files)


def by_kind(summary: Summary) -> dict[str, int]:
    """Images by model, those that no model coded in one."""
    kinds: Counter[str] = Counter()
    for coder, count in summary.coders.items():
        kinds[FALLBACK if is_fallback(coder) else coder] += count
    return dict(kinds)


# Choice of the model


def test_what_stores_an_image_is_told() -> None:
    """Which of raw, PNG and WebP it is, in every place that tells of the fallback."""
    dots = from_array(np.zeros((1, 2, 4), np.uint8))
    images = [dots, noise(30, 40, 4), STORED["photo"] if "photo" in STORED else noise(30, 40, 3), dots]
    data, summary = build([(str(number), image) for number, image in enumerate(images)])
    reader = Reader(io.BytesIO(data))
    expected = [f"{FALLBACK} {item_codec(encode_item(image))}" for image in images]
    assert expected[0] == "fallback raw"
    assert [entry.coder for entry in reader.entries()] == expected
    assert summary.coders == dict(Counter(expected))
    stored = Counter(name for group in groups(data) for name in Counter(group["stored"]).elements())
    assert stored == Counter(name.removeprefix("fallback ") for name in expected)
    for image, name in zip(images, expected, strict=True):
        data, summary = Compressor().lone(image)
        assert summary.coders == {name: 1}
        assert [entry.coder for entry in Reader(io.BytesIO(data)).entries()] == [name]


def test_a_chosen_model_that_codes_nothing_is_told() -> None:
    """It is not dropped in silence: what it does not fit, and what the fallback has in fewer bytes."""
    grey, colour = noise(28, 28), noise(28, 28, 3)
    for model, images, notes in (
        ("tiny-grey", [GREY_DIGIT], []),
        ("tiny-grey", [colour], ["the model tiny-grey does not fit the image, of another kind or size"]),
        ("tiny-grey", [grey], ["the model tiny-grey does not code the image in fewer bytes than the fallback"]),
        (
            "tiny-grey",
            [GREY_DIGIT, colour],
            ["the model tiny-grey does not fit 1 of 2 images, of another kind or size"],
        ),
        (
            "tiny-grey",
            [grey, grey],
            ["the model tiny-grey does not code any image in fewer bytes than the fallback"],
        ),
        (
            "tiny-grey",
            [grey, colour],
            [
                "the model tiny-grey does not fit 1 of 2 images, of another kind or size",
                "the model tiny-grey does not code any of the others in fewer bytes than the fallback",
            ],
        ),
        (
            MODELS,
            [noise(9, 9, dtype=np.uint16)],
            [f"none of the models in {MODELS} fits the image, of another kind or size"],
        ),
        (None, [colour, grey], []),
    ):
        _, summary = build(unnamed(images), model=model)
        assert summary.notes == notes
        if len(images) == 1:
            assert Compressor(Options(model=model)).lone(images[0])[1].notes == notes
    with pytest.warns(UserWarning, match="the model tiny-grey does not fit the image"):
        compress(colour, model="tiny-grey")


def test_only_the_chosen_model_is_used() -> None:
    chosen = Compressor(Options(model=MODELS / "tiny-grey"))
    assert chosen.lone(DIGIT)[1].coders == {"tiny-grey": 1}  # a binary digit is a grey one too
    assert by_kind(chosen.lone(from_array(DIGIT.pixels > 127))[1]) == {FALLBACK: 1}
    other = Compressor(Options(model="tiny-binary"))
    assert other.lone(DIGIT)[1].coders == {"tiny-binary": 1}
    assert by_kind(other.lone(GREY_DIGIT)[1]) == {FALLBACK: 1}


def worse_model(folder: Path) -> None:
    """A model like tiny-binary, with a decoder that hardly knows digits."""
    weights = load(MODELS / "tiny-binary")
    assert isinstance(weights, MLPWeights)
    last = weights.decoder[-1]
    last = replace(last, weight=last.weight // 4, bias=last.bias // 4)
    save(replace(weights, decoder=(*weights.decoder[:-1], last), card={"name": "worse"}), folder)


@pytest.mark.parametrize("order", ["worse first", "worse last"])
def test_several_models_are_tried(order: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worse_model(tmp_path / "worse")
    places = [str(tmp_path), str(MODELS)]
    monkeypatch.setenv("BBC_MODELS", os.pathsep.join(places if order == "worse first" else places[::-1]))
    worse = Compressor(Options(model="worse")).lone(DIGIT)[0]
    data, summary = Compressor().lone(DIGIT)
    assert summary.coders == {"tiny-binary": 1}
    assert len(data) < len(worse)
    assert decompress(worse).tobytes() == decompress(data).tobytes() == DIGIT.pixels.tobytes()


def test_a_file_needs_its_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = compress(DIGIT)
    worse_model(tmp_path / "worse")
    monkeypatch.setenv("BBC_MODELS", str(tmp_path))
    with pytest.raises(ModelError, match="641adb"):
        decompress(data)
    description = Reader(io.BytesIO(data)).describe()
    assert description["groups"][0]["model"] == "641adb... (not installed)"
    assert np.array_equal(decompress(data, MODELS / "tiny-binary"), DIGIT.pixels)


def test_a_model_of_the_same_prefix_but_other_integers_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check inside a message has the whole id: a collision of the prefix never gives other pixels."""
    data = compress(DIGIT)
    worse_model(tmp_path / "worse")
    monkeypatch.setattr("bbcompress.models.zoo.InstalledModel.id", bytes.fromhex("641adb16") + bytes(28))
    monkeypatch.setenv("BBC_MODELS", str(tmp_path))
    with pytest.raises(FormatError):
        decompress(data)


def test_of_two_models_with_the_prefix_the_right_one_decodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = compress(DIGIT)
    worse_model(tmp_path / "worse")
    first = {"worse": b"\1", "tiny-binary": b"\2"}
    monkeypatch.setenv("BBC_MODELS", os.pathsep.join([str(tmp_path), str(MODELS / "tiny-binary")]))
    identity = property(lambda entry: bytes.fromhex("641adb16") + first[entry.name] * 28)
    monkeypatch.setattr("bbcompress.models.zoo.InstalledModel.id", identity)
    assert np.array_equal(decompress(data), DIGIT.pixels)


def test_a_damaged_model_is_an_error_not_a_fallback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(MODELS / "tiny-binary", tmp_path / "tiny-binary")
    path = tmp_path / "tiny-binary" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1000] ^= 1
    path.write_bytes(data)
    monkeypatch.setenv("BBC_MODELS", str(tmp_path))
    with pytest.raises(ModelError, match="damaged"):
        compress(DIGIT)


# --binary


@pytest.mark.parametrize("image", [DIGIT, levels(DIGIT, 3, 9), from_array(DIGIT.pixels > 127)])
def test_binary_takes_two_levels(image: PixelImage) -> None:
    assert Compressor(Options(binary=True)).lone(image)[1].coders == {"tiny-binary": 1}


@pytest.mark.parametrize("image", [GREY_DIGIT, photo(), palette(), STORED["transparency"]])
def test_binary_refuses_all_else(image: PixelImage) -> None:
    with pytest.raises(ImageError, match="binary=True"):
        compress(image, binary=True)


def test_binary_names_the_image() -> None:
    with pytest.raises(ImageError, match=r"second\.png"):
        build([("first.png", DIGIT), ("second.png", GREY_DIGIT)], binary=True)


# Verification


@pytest.fixture(params=["other pixels", "an error"])
def broken_decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding does not give what was coded."""

    def decode(group: Group, *_: Any) -> list[PixelImage]:
        if request.param == "an error":
            raise FormatError("damaged")
        return [OTHER_DIGIT] * group.header.count

    decode_by(monkeypatch, decode)


@pytest.mark.usefixtures("broken_decoder")
@pytest.mark.parametrize("image", [DIGIT, photo()], ids=["model", "fallback"])
def test_what_does_not_come_back_is_not_written(image: PixelImage) -> None:
    with pytest.raises(BBCError, match=NOT_VERIFIED):
        compress(image)
    with pytest.raises(BBCError, match=NOT_VERIFIED):
        build(unnamed([image, image]))


@pytest.mark.usefixtures("broken_decoder")
def test_verification_can_be_left_out() -> None:
    assert len(compress(DIGIT, verify=False)) < 60
    assert build(unnamed([DIGIT]), verify=False)[1].images == 1


# Local models, for images of any size

RGB, GREY, BINARY = tiny_local(), tiny_local(channels=1), tiny_local(channels=1, binary=True)
ONE_SIZE = tiny_local(image=(8, 8), pool=2, seed=5)
LOCAL = {"any-rgb": RGB, "any-grey": GREY, "any-binary": BINARY, "one-size": ONE_SIZE}


@pytest.fixture(scope="module")
def local_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of local models."""
    folder = tmp_path_factory.mktemp("local")
    for name, weights in LOCAL.items():
        save(replace(weights, card={"name": name}), folder / name)
    return folder


@pytest.fixture
def local_models(local_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are installed beside the tiny ones; blocks are small."""
    monkeypatch.setenv("BBC_MODELS", os.pathsep.join([str(local_folder), str(MODELS)]))
    monkeypatch.setattr(blocks, "BLOCK_SIDE", 16)


def drawn(weights: Any, height: int, width: int, seed: int = 0) -> PixelImage:
    """An image that a model has drawn, and so codes better than anything else."""
    pixels = sampled_strips(weights, 1, height, width, seed=seed).canvas.images[0]
    return from_array(pixels if weights.channels == 3 else pixels[:, :, 0] * (255 if weights.levels == 2 else 1))


LOCAL_SIZES = [(1, 1), (1, 9), (9, 1), (3, 5), (16, 16), (17, 33)]


@pytest.mark.usefixtures("local_models")
@pytest.mark.parametrize(("height", "width"), LOCAL_SIZES)
@pytest.mark.parametrize("name", ["any-rgb", "any-grey"])
def test_lone_image_of_any_size(name: str, height: int, width: int) -> None:
    image = drawn(LOCAL[name], height, width)
    told: list[int] = []
    data, summary = Compressor(Options(k=1)).lone(image, told.append)
    assert total(told) == width * height
    reader, told = Reader(io.BytesIO(data)), []
    assert [image for _, image in reader.images(told.append)] == [image]
    assert total(told) == reader.expected_pixels() == width * height
    (group,) = groups(data)
    if height * width > 100 and name == "any-rgb":  # the other draws so much black that the fallback may win
        assert summary.coders == {name: 1}
        assert (group["model"], group["width"], group["height"]) == (name, width, height)
        assert group["K"] == 1
        assert len(data) < len(encode_item(image))


@pytest.mark.usefixtures("local_models")
def test_noise_of_any_size_is_stored() -> None:
    for weights in (RGB, GREY):
        pixels = noise_strips(weights, 1, 20, 30).canvas.images[0]
        image = from_array(pixels if weights.channels == 3 else pixels[:, :, 0])
        assert by_kind(Compressor().lone(image)[1]) == {FALLBACK: 1}


@pytest.mark.usefixtures("local_models")
@pytest.mark.parametrize("k", [0, 2])
def test_archive_of_mixed_sizes_and_kinds(k: int) -> None:
    """Groups of one kind, in any order; of two kinds of RGB images those that suit the model."""
    kinds = [
        drawn(RGB, 20, 9), drawn(GREY, 20, 9), DIGIT, drawn(RGB, 9, 20), drawn(RGB, 20, 9, seed=1), GREY_DIGIT, photo(),
        palette(), drawn(GREY, 20, 9, seed=1), drawn(RGB, 20, 9, seed=2), drawn(RGB, 1, 3), OTHER_DIGIT, noise(7, 7, 4),
    ]  # fmt: skip
    images: list[Named] = [(f"{index}.png", image) for index, image in enumerate(kinds)]
    told: list[int] = []
    file = io.BytesIO()
    summary = Compressor(Options(k=k)).archive(images, file, told.append)
    assert total(told) == sum(image.width * image.height for image in kinds)
    data = file.getvalue()
    check_archive(data, images)
    found = [(g["model"], g["images"], g.get("width"), g.get("height")) for g in groups(data)]
    assert ("any-rgb", 5, None, None) in found
    assert ("any-grey", 2, 9, 20) in found
    assert ("tiny-binary", 2, None, None) in found
    assert {"any-rgb", "any-grey", "tiny-binary", FALLBACK} <= set(by_kind(summary))
    assert build(images, k=k) == (data, summary)


@pytest.mark.usefixtures("local_models")
def test_the_model_that_codes_best_wins() -> None:
    """Of a model for one size and one for any, each with images of its own."""
    for count in (1, 3):
        for name in ("one-size", "any-rgb"):
            images = [drawn(LOCAL[name], 8, 8, seed) for seed in range(count)]
            sizes = {}
            for other in ("one-size", "any-rgb"):
                file = io.BytesIO()
                Compressor(Options(model=other)).archive(unnamed(images), file)
                sizes[other] = len(file.getvalue())
            data, summary = build(unnamed(images))
            check_archive(data, unnamed(images))
            assert len(data) == min(sizes.values())
            assert sizes[next(iter(summary.coders))] == len(data)
    assert Compressor().lone(drawn(RGB, 8, 16))[1].coders == {"any-rgb": 1}  # no choice there


@pytest.mark.usefixtures("local_models")
def test_kinds_that_local_models_take() -> None:
    two_levels = levels(drawn(BINARY, 30, 30), 3, 77)
    bilevel = from_array(two_levels.pixels == 77)
    for image in (two_levels, bilevel, drawn(BINARY, 30, 30)):
        data, _ = Compressor(Options(binary=True)).lone(image)
        assert [found for _, found in Reader(io.BytesIO(data)).images()] == [image]
    with pytest.raises(ImageError, match="binary=True"):
        compress(drawn(GREY, 9, 9), binary=True)
    assert by_kind(Compressor(Options(model="any-grey")).lone(bilevel)[1]) == {FALLBACK: 1}
    assert by_kind(Compressor(Options(model="any-grey")).lone(drawn(RGB, 20, 20))[1]) == {FALLBACK: 1}


@pytest.mark.usefixtures("local_models")
def test_arrays_of_any_size() -> None:
    for image in (drawn(RGB, 20, 31), drawn(GREY, 31, 20)):
        back = decompress(compress(image.pixels, 2))
        assert (back.dtype, back.shape) == (np.uint8, image.pixels.shape)
        assert np.array_equal(back, image.pixels)


@pytest.mark.usefixtures("local_models")
def test_a_lone_image_has_one_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    """However large the images of a model for one size are: a lone image's header does not speak of lanes."""
    for distribution in DISTRIBUTIONS.values():
        monkeypatch.setattr(distribution, "lane_subpixels", 50)
    chosen = Compressor(Options(model="one-size"))
    image = drawn(ONE_SIZE, 8, 8)
    data, summary = chosen.lone(image)
    assert summary.coders == {"one-size": 1}
    assert decompress(data).tobytes() == image.pixels.tobytes()
    data, _ = build(unnamed([image] * 3), model="one-size")
    assert groups(data)[0]["lanes"] == 11


@pytest.mark.usefixtures("local_models")
def test_a_file_of_blocks_needs_its_model(monkeypatch: pytest.MonkeyPatch, local_folder: Path) -> None:
    image = drawn(RGB, 20, 20)
    data = compress(image)
    monkeypatch.setenv("BBC_MODELS", str(MODELS))
    with pytest.raises(ModelError, match=RGB.id[:3].hex()):
        decompress(data)
    assert np.array_equal(decompress(data, local_folder / "any-rgb"), image.pixels)


@pytest.mark.usefixtures("local_models")
def test_damaged_files_of_blocks() -> None:
    """A lone image of several blocks and an archive: cut anywhere, or a byte flipped, they are refused."""
    image = drawn(RGB, 17, 20)
    for data in (compress(image, 1), build([("a.png", image), ("b.png", image)])[0]):
        for place in range(0, len(data), 23):
            for damaged in (data[:place], data[:place] + bytes([data[place] ^ 0x41]) + data[place + 1 :]):
                with pytest.raises(BBCError) as caught:
                    list(Reader(io.BytesIO(damaged)).images())
                assert "\n" not in str(caught.value)


# The residual VAE, for RGB images of any size

RESNET = tiny_resnet()


@pytest.fixture(scope="module")
def resnet_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its folder, which is nowhere installed."""
    folder = tmp_path_factory.mktemp("resnet") / "model"
    save(replace(RESNET, card={"name": "resnet", "default": False}), folder)
    return folder


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_SIDE", 16)


@pytest.fixture
def no_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the model codes badly is coded by it all the same."""
    monkeypatch.setattr(ways.ByFallback, "may_win", lambda *_: False)
    monkeypatch.setattr(choose, "fallback_wins", lambda _, images, *__: [False] * len(images))


def crops(count: int, height: int, width: int) -> list[PixelImage]:
    """Parts of a photograph."""
    pixels = read_image(DATA / "photos" / "landscape.png").pixels
    return [from_array(np.ascontiguousarray(pixels[9 * n : 9 * n + height, 50:][:, :width])) for n in range(count)]


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(("height", "width"), [(1, 9), (8, 8), (13, 21), (3, 40), (33, 17)])
def test_lone_image_of_a_residual_vae(height: int, width: int, resnet_folder: Path) -> None:
    image = drawn(RESNET, height, width)
    told: list[int] = []
    data, summary = Compressor(Options(model=resnet_folder, k=2)).lone(image, told.append)
    assert total(told) == width * height
    reader, told = Reader(io.BytesIO(data), open_models(resnet_folder)), []
    assert [found for _, found in reader.images(told.append)] == [image]
    assert total(told) == width * height
    if height * width > 100:
        assert summary.coders == {"resnet": 1}
        (group,) = reader.describe()["groups"]
        assert (group["model"], group["width"], group["height"], group["K"]) == (
            "resnet", width, height, 2 if height > 8 else 0,
        )  # fmt: skip
        assert len(data) < len(encode_item(image))


@pytest.mark.usefixtures("small_blocks", "no_fallback")
@pytest.mark.parametrize("encoder", ["rha", "baseline"])
@pytest.mark.parametrize("k", [0, 2])
def test_archive_of_a_residual_vae(encoder: str, k: int, resnet_folder: Path) -> None:
    """Photographs of one odd size, and others of other sizes."""
    kinds = [*crops(3, 13, 21), *crops(1, 35, 20), *crops(2, 8, 8), drawn(RESNET, 13, 21), *crops(1, 1, 1)]
    images: list[Named] = [(f"{index}.png", image) for index, image in enumerate(kinds)]
    data, summary = build(images, model=resnet_folder, encoder=encoder, k=k)
    assert summary.coders == {"resnet": len(images)}
    reader = Reader(io.BytesIO(data), open_models(resnet_folder))
    assert list(reader.names) == [name for name, _ in images]
    found = dict(reader.images())
    assert [found[position] for position in range(len(images))] == kinds
    (group,) = reader.describe()["groups"]
    assert group["images"] == len(images)
    assert (group["encoder"], group["K"]) == (encoder, k)
    sizes = [(image.width, image.height) for image in kinds]
    assert [entry.size for entry in reader.entries()] == [reader.image_info(place)[0][0] for place in range(8)] == sizes
    assert build(images, model=resnet_folder, encoder=encoder, k=k) == (data, summary)
    assert build(images, model=resnet_folder, encoder=encoder, k=k + 1)[0] != data


def test_a_residual_vae_that_is_not_chosen_is_not_tried(monkeypatch: pytest.MonkeyPatch, resnet_folder: Path) -> None:
    monkeypatch.setenv("BBC_MODELS", str(resnet_folder.parent))
    image = drawn(RESNET, 13, 21)
    assert by_kind(Compressor().lone(image)[1]) == {FALLBACK: 1}
    data, summary = Compressor(Options(model="resnet")).lone(image)
    assert summary.coders == {"resnet": 1}
    assert np.array_equal(decompress(data), image.pixels)  # which finds it where it is installed
    for other in (noise(13, 21), noise(13, 21, 4), GREY_DIGIT):
        assert by_kind(Compressor(Options(model="resnet")).lone(other)[1]) == {FALLBACK: 1}


def test_a_file_needs_its_residual_vae(tmp_path: Path, resnet_folder: Path) -> None:
    image = drawn(RESNET, 13, 21)
    data = compress(image, model=resnet_folder)
    with pytest.raises(ModelError, match=RESNET.id[:3].hex()):
        decompress(data)
    save(tiny_resnet(seed=1), tmp_path / "other")
    with pytest.raises(ModelError, match=RESNET.id[:3].hex()):
        decompress(data, tmp_path / "other")
    assert np.array_equal(decompress(data, resnet_folder), image.pixels)


@pytest.mark.usefixtures("small_blocks")
def test_damaged_files_of_a_residual_vae(resnet_folder: Path) -> None:
    """A lone image of several blocks and an archive: cut anywhere, or a byte flipped, they are refused."""
    image = drawn(RESNET, 17, 20)
    lone = compress(image, 1, model=resnet_folder)
    archive, summary = build([("a.png", image), ("b.png", image)], model=resnet_folder)
    assert summary.coders == {"resnet": 2}
    for data in (lone, archive):
        for place in range(0, len(data), 41):
            for damaged in (data[:place], data[:place] + bytes([data[place] ^ 0x41]) + data[place + 1 :]):
                with pytest.raises(BBCError) as caught:
                    list(Reader(io.BytesIO(damaged), open_models(resnet_folder)).images())
                assert "\n" not in str(caught.value)


# Limits


def test_images_above_the_limit_are_refused_before_the_work() -> None:
    for image in (DIGIT, photo()):
        pixels = image.width * image.height
        assert compress(image, max_pixels=pixels)
        with pytest.raises(ImageError, match=f"the image has more pixels than the limit of {pixels - 1}"):
            compress(image, max_pixels=pixels - 1)
        with pytest.raises(ImageError, match=r"x\.png has more pixels"):
            build([("x.png", image)], max_pixels=pixels - 1)
    with pytest.raises(BBCError, match="at least 1"):
        Options(max_pixels=0)


def test_decompress_has_a_limit() -> None:
    data = compress(photo())
    with pytest.raises(FormatError, match="pixels"):
        decompress(data, max_pixels=photo().width * photo().height - 1)


@pytest.mark.parametrize("make", [compress, lambda image: build(unnamed([image] * 3))[0]])
def test_the_limit_holds_for_sizes_that_only_the_model_says(make: Callable[[PixelImage], bytes]) -> None:
    """A header leaves out the size that the model is made for."""
    (digit,) = digits("binary", 0)
    data, pixels = make(digit), digit.width * digit.height
    assert all(image == digit for _, image in Reader(io.BytesIO(data), limits=Limits(pixels)).images())
    with pytest.raises(FormatError, match=f"limit of {pixels - 1} pixels"):
        list(Reader(io.BytesIO(data), limits=Limits(pixels - 1)).images())


def test_a_group_is_worth_its_subpixels(monkeypatch: pytest.MonkeyPatch) -> None:
    worths: list[int] = []

    class Watched(Workers[Any, Any]):
        def map(self, tasks: Any, progress: Any = None) -> Any:
            tasks = list(tasks)
            worths.extend(map(self._cost, tasks))
            return super().map(tasks, progress)

    monkeypatch.setattr("bbcompress.pipeline.reader.Workers", Watched)
    images: list[Named] = [("photo.png", photo()), ("digit.png", DIGIT)]
    assert photo().samples == 3 * photo().width * photo().height
    list(Reader(io.BytesIO(build(images)[0])).images())
    assert sorted(worths) == sorted(image.samples for _, image in images)


def test_what_is_no_file_of_bbc_is_not_read_whole() -> None:
    file = io.BytesIO(b"no" + bytes(1000))
    with pytest.raises(FormatError, match=r"not a \.bbc file"):
        Reader(file)
    assert file.tell() < 32  # a manifest begins with so many bytes


def test_facts_hold_one_group_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressor, "GROUP_SUBPIXELS", 1)
    data, _ = build([(f"{number}.png", image) for number, image in enumerate(digits("grey", *range(5)))])
    reader = Reader(io.BytesIO(data))
    done: list[str] = []
    read, tell = reader.file.read_group, describe_group

    def watched(what: str, function: Any) -> Any:
        def call(*args: Any) -> Any:
            done.append(what)
            return function(*args)

        return call

    monkeypatch.setattr(reader.file, "read_group", watched("read", read))
    monkeypatch.setattr("bbcompress.pipeline.reader.describe_group", watched("told", tell))
    assert len(reader.describe()["groups"]) == 5
    assert done == ["read", "told"] * 5
