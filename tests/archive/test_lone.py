"""Files of one image that a model codes, with zeros behind them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from cases_for_tests import one_test_of
from hypothesis import given
from hypothesis import strategies as st
from models_for_tests import models_in

from bbcompress.archive.group import Group
from bbcompress.archive.header import GroupHeader
from bbcompress.archive.lone import LeftOverError, LoneFile, build_lone, parse_lone
from bbcompress.archive.search import Tail, TailKind
from bbcompress.codecs.groups import decode_images, encode_images
from bbcompress.codecs.settings import CodingSettings
from bbcompress.errors import FormatError
from bbcompress.images.image import PixelImage, from_array
from bbcompress.images.kinds import BINARY
from bbcompress.pipeline.options import open_models
from bbcompress.pipeline.reader import Reader

TESTS = Path(__file__).resolve().parents[1]
MODELS = TESTS / "data" / "models"
STREAMS = [
    path
    for path in sorted((TESTS / "golden" / "streams").glob("lone-*.bbc"))
    if parse_lone(path.read_bytes()).header.by_model
]
HEADER = GroupHeader(model=b"abc", direct=1)


def opened(data: bytes) -> Reader:
    return Reader(io.BytesIO(data), models_in(MODELS))


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was said, but for what kernels say."""
    return [record.message for record in caplog.records if record.name.startswith("bbcompress.pipeline")]


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
def test_zeros_behind_any_stream(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = path.read_bytes()
    alone = opened(data)
    image, description = alone.read(0), alone.describe()
    assert alone.tail == Tail()
    for zeros in (1, 4, 510):
        caplog.clear()
        reader = opened(data + bytes(zeros))
        assert reader.tail == Tail()
        assert reader.read(0) == image
        assert reader.tail == Tail(TailKind.PADDING, zeros)
        assert told(caplog) == [f"{zeros} bytes behind the image, all zero, are passed over"]
        padded = reader.describe()
        assert padded["groups"] == description["groups"]
        assert padded["parts"] == {**description["parts"], "behind": zeros} and padded["bytes"] == len(data) + zeros
        assert [found for _, found in reader.images()] == [image]
        assert len(told(caplog)) == 1


@one_test_of("path", STREAMS)
def test_other_ends_are_damage(path: Path) -> None:
    """Bytes that are not zero; and zeros in place of the message's end, as a failure of power leaves them."""
    data = path.read_bytes()
    damaged = [data + b"\0\0\0\1", data + b"\1", data + b"\1\0\0\0", data + b"\0\0\1" + bytes(509)]
    if len(data) > 24:
        ends = [(lost, zeros) for lost, zeros in ((1, 1), (4, 4), (5, 64)) if data[-lost:].strip(b"\0")]
        damaged += [data[:-lost] + bytes(zeros) for lost, zeros in ends]
    for other in damaged:
        more = len(other) - len(data)
        message = "damaged, cut short or followed by other bytes: "
        if more > 0 and more % 4 == 0:
            message = f"has {more} other bytes behind its image, .*: its first {len(data)} bytes"
        with pytest.raises(FormatError, match=message):
            opened(other).read(0)


@given(st.binary(min_size=1, max_size=9), st.integers(0, 9), st.integers(1, 20))
def test_messages_that_end_with_zeros_themselves(start: bytes, own: int, zeros: int) -> None:
    """Whatever zeros are the message's own, just those behind it are padding; few payloads are decoded."""
    message = start + bytes(own)
    tried = []

    def decode(group: Group) -> str:
        tried.append(group.payload)
        more = len(group.payload) - len(message)
        if more == 0:
            return "the image"
        if more > 0 and more % 4 == 0:
            raise LeftOverError(more)
        raise FormatError("damaged")

    lone = LoneFile(build_lone(Group(HEADER, message + bytes(zeros))))
    assert lone.decode(lone.read_group(0), decode) == "the image"
    assert lone.read_group(0) == Group(HEADER, message, lone=True)
    assert lone.tail == Tail(TailKind.PADDING, zeros)
    assert len(tried) == len(set(tried)) <= 6


@given(st.binary(min_size=1, max_size=9), st.integers(0, 20))
def test_few_payloads_of_a_damaged_file_are_decoded(start: bytes, zeros: int) -> None:
    tried = []

    def decode(group: Group) -> str:
        tried.append(group.payload)
        raise FormatError(f"damaged: {len(group.payload)}")

    lone = LoneFile(build_lone(Group(HEADER, start + bytes(zeros))))
    group = lone.read_group(0)
    with pytest.raises(
        FormatError, match=f"^the file is damaged, cut short or followed by other bytes: {len(group.payload)}$"
    ):
        lone.decode(group, decode)
    assert len(tried) == len(set(tried)) <= 5
    assert len(tried) == 1 or group.payload.endswith(b"\0")


def test_a_real_message_that_ends_with_a_zero() -> None:
    models = open_models(MODELS / "tiny-binary", "cpu")
    pixels = np.zeros((28, 28), np.uint8)
    pixels[6, 0] = pixels[3:9, 4:9] = 255  # found by trying
    image = from_array(pixels)
    group = encode_images(models.model(models.zoo.entries[0]), [image], BINARY, CodingSettings())
    assert group.payload.endswith(b"\0")

    def decode(tried: Group) -> PixelImage:
        return decode_images(tried, models)[0]

    for zeros in range(1, 9):
        lone = LoneFile(build_lone(group) + bytes(zeros))
        assert lone.decode(lone.read_group(0), decode) == image
        assert (lone.read_group(0).payload, lone.tail.size) == (group.payload, zeros)
