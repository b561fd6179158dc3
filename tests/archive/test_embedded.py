"""Models in files, as bytes: behind segments and in the extras of lone images, whole and damaged."""

from __future__ import annotations

import io
import random
from dataclasses import replace
from itertools import product

import pytest

from bbcompress.archive.container import ArchiveFile, ArchiveWriter
from bbcompress.archive.embedded import (
    MAX_CARD_BYTES,
    MAX_CONTENT_BYTES,
    MAX_MODELS,
    MAX_WEIGHT_BYTES,
    MODEL_START,
    EmbeddedModel,
    encode_block,
    model_at,
    model_before,
)
from bbcompress.archive.extras import Extras
from bbcompress.archive.group import Group
from bbcompress.archive.header import GroupHeader
from bbcompress.archive.lone import LoneFile, build_lone, parse_lone
from bbcompress.archive.search import TailKind
from bbcompress.archive.signature import ADDING, PREFIX
from bbcompress.errors import FormatError
from bbcompress.wire import pack, varint

ID = bytes(range(32))
MODEL = EmbeddedModel.of(ID, b'{"name": "mine"}', b"weights" * 40)
OTHER = EmbeddedModel.of(ID[::-1], b"", b"others")
ITEM = bytes.fromhex("01010201 07C8")


def segment(name: str, *models: EmbeddedModel, after: bytes = b"") -> bytes:
    """An archive of one image, or the same behind another one, and the models that it carries."""
    file = io.BytesIO(after)
    archive = ArchiveFile(file) if after else None
    file.seek(0, io.SEEK_END)
    writer = ArchiveWriter(file, after=archive)
    writer.add_group(Group.of_items([ITEM]), [name])
    for model in models:
        writer.add_model(model)
    writer.close()
    return file.getvalue()


def opened(data: bytes, keep_going: bool = False) -> ArchiveFile:
    return ArchiveFile(io.BytesIO(data), keep_going=keep_going)


def models_of(data: bytes) -> list[EmbeddedModel]:
    return [place.read() for place in opened(data).models]


def test_the_content() -> None:
    assert EmbeddedModel.decode(MODEL.encode()) == MODEL
    assert (MODEL.card, MODEL.weights) == (b'{"name": "mine"}', b"weights" * 40)
    assert (OTHER.card, OTHER.weights) == (b"", b"others")
    assert OTHER.encode() == ID[::-1] + b"\0" + pack(b"others")
    for end in range(len(MODEL.encode())):
        with pytest.raises(FormatError):
            _ = EmbeddedModel.decode(MODEL.encode()[:end]).weights


def test_what_is_packed_has_a_limit() -> None:
    bomb = replace(MODEL, packed_card=pack(bytes(MAX_CARD_BYTES + 1)), packed_weights=pack(bytes(MAX_WEIGHT_BYTES + 1)))
    assert len(bomb.encode()) < 1000
    for part in ("card", "weights"):
        with pytest.raises(FormatError, match="more than the"):
            getattr(bomb, part)
    assert replace(MODEL, packed_card=pack(bytes(MAX_CARD_BYTES))).card == bytes(MAX_CARD_BYTES)
    for card, weights in ((bytes(MAX_CARD_BYTES + 1), b"x"), (b"", bytes(MAX_WEIGHT_BYTES + 1))):
        with pytest.raises(FormatError, match="the limit in files is"):
            EmbeddedModel.of(ID, card, weights)
    noise = random.Random(5).randbytes(MAX_WEIGHT_BYTES >> 4)  # some blocks of bzip2, each of which grows
    longer = len(EmbeddedModel.of(ID, b"", noise).encode()) - len(noise)
    assert longer > 0 and MAX_WEIGHT_BYTES + 16 * longer + MAX_CARD_BYTES < MAX_CONTENT_BYTES


def test_behind_segments() -> None:
    data = segment("a", MODEL, OTHER)
    assert data.startswith(PREFIX)
    assert data.endswith(encode_block(MODEL) + encode_block(OTHER))
    assert models_of(data) == [MODEL, OTHER]
    data = segment("b", after=data)
    data = segment("c", OTHER, after=data)
    assert models_of(data) == [MODEL, OTHER, OTHER]
    file = opened(data)
    assert list(file.names) == ["a", "b", "c"]
    assert [place.id for place in file.models] == [MODEL.id, OTHER.id, OTHER.id]
    assert file.tail.kind is TailKind.NOTHING
    assert file.accounting().total == len(data)
    assert file.accounting().models == sum(len(encode_block(model)) for model in (MODEL, OTHER, OTHER))
    assert ADDING not in data


def test_archives_one_behind_the_other() -> None:
    data = segment("a", MODEL) + segment("b", OTHER)
    assert models_of(data) == [MODEL, OTHER]
    assert list(opened(data).names) == ["a", "b"]
    assert models_of(data + bytes(3)) == [MODEL, OTHER]  # found from the front
    assert opened(data + bytes(3)).tail.kind is TailKind.PADDING
    assert models_of(data + b"some other bytes") == [MODEL, OTHER]


def test_a_model_is_not_the_beginning_of_a_file() -> None:
    for data in (encode_block(MODEL), encode_block(MODEL) + segment("a")):
        with pytest.raises(FormatError, match=r"not a \.bbc file"):
            opened(data)


def test_there_is_a_most_of_models() -> None:
    data = segment("a") + MAX_MODELS * encode_block(OTHER)
    assert len(opened(data).models) == MAX_MODELS
    for keep_going in (False, True):
        with pytest.raises(FormatError, match="more than 64 models"):
            opened(data + encode_block(OTHER), keep_going)
    with pytest.raises(FormatError, match="at most 64 models"):
        segment("b", OTHER, after=data)


def test_a_damaged_model_leaves_the_images() -> None:
    """Its bytes are checked where it is needed; its lengths say where it is."""
    data = segment("a", MODEL)
    start = len(segment("a"))
    for at in range(start + 8 + 32, len(data) - 8):
        changed = data[:at] + bytes([data[at] ^ 16]) + data[at + 1 :]
        file = opened(changed)
        assert list(file.names) == ["a"]
        (place,) = file.models
        with pytest.raises(FormatError, match="the model in the file is damaged"):
            place.read()


def test_a_model_whose_ends_are_damaged_is_lost_and_the_images_are_not() -> None:
    whole = segment("a")
    data = segment("b", OTHER, after=segment("a", MODEL))
    start, stop = len(whole), len(segment("a", MODEL))
    places = [*range(start, start + 8), *range(stop - 8, stop - 4)]
    for at in places:
        changed = data[:at] + bytes([data[at] ^ 16]) + data[at + 1 :]
        with pytest.raises(FormatError, match="damaged"):
            opened(changed)
        file = opened(changed, keep_going=True)
        assert list(file.names) == ["a", "b"]
        assert [place.read() for place in file.models] == [OTHER]
        assert file.unread == stop - start


def test_salvage_finds_the_models() -> None:
    """Whatever of the segments is damaged."""
    one, two = segment("a", MODEL), segment("b", OTHER)
    data = one + two
    block, other = len(encode_block(MODEL)), len(encode_block(OTHER))
    for at in [*range(3, len(one) - block), *range(len(one) + 3, len(data) - other)]:
        changed = data[:at] + bytes([data[at] ^ 16]) + data[at + 1 :]
        try:
            file = opened(changed, keep_going=True)
        except FormatError:
            assert at < 20  # the first group itself
            continue
        assert [place.read() for place in file.models] == [MODEL, OTHER], at


@pytest.mark.parametrize("beginning", [PREFIX, ADDING])
def test_an_archive_that_is_cut_in_its_model(beginning: bytes) -> None:
    """Damaged, unless what wrote it was broken off: then what is there of the model is left out."""
    first = segment("a")
    data = segment("b", MODEL, after=first)
    stop = len(data) - len(encode_block(MODEL))
    data = data[: len(first)] + beginning + data[len(first) + 3 :]
    for end, zeros in product(range(stop + 1, len(data)), (0, 40)):
        cut = data[:end] + bytes(zeros)
        if zeros and end >= len(data) - 7:  # both lengths are there, and zeros stand for the checksum
            (place,) = opened(cut).models
            with pytest.raises(FormatError, match="its checksum does not fit"):
                place.read()
            continue
        if beginning == PREFIX:
            with pytest.raises(FormatError, match="damaged"):
                opened(cut)
            assert list(opened(cut, keep_going=True).names) == ["a", "b"]
            continue
        file = opened(cut)
        assert (file.tail.kind, file.tail.size) == (TailKind.UNFINISHED, end - stop + zeros)
        assert (file.content_end, list(file.names), file.models) == (stop, ["a", "b"], ())
        assert file.being_added == [len(first)]


def test_older_readers_take_a_model_at_the_end_for_unknown_bytes() -> None:
    """Of the first three bytes only one is that of a prefix, and no model ends as an index does."""
    assert sum(a == b for a, b in zip(MODEL_START, PREFIX, strict=False)) == 1
    assert sum(a == b for a, b in zip(MODEL_START, ADDING, strict=False)) == 1


def test_places() -> None:
    data = b"??" + encode_block(MODEL) + b"!"
    file = io.BytesIO(data)
    end = len(data) - 1
    assert model_at(file, 2, end) is not None
    assert model_at(file, 2, len(data)) is not None
    assert model_before(file, end, 2) is not None
    assert model_before(file, end, 3) is None
    assert model_at(file, 2, end - 1) is None
    assert model_at(file, 1, end) is None
    for size in range(60):
        assert model_at(io.BytesIO(data[2:size]), 0, max(size - 2, 0)) is None
        assert model_before(io.BytesIO(data[-size:]), size, 0) is None


LONE = Group(GroupHeader(model=ID[:4], lanes=1, direct=1, size=(3, 2)), b"message")


def test_in_the_file_of_one_image() -> None:
    for suffix in (None, ".webp"):
        data = build_lone(replace(LONE, extras=Extras(suffix, (MODEL,))))
        file = LoneFile(data)
        (place,) = file.models
        assert (file.suffix, place.id, place.read()) == (suffix, ID, MODEL)
        assert file.accounting().models == place.length == len(MODEL.encode())
        assert file.accounting().total == len(data)
        for at in range(3, data.index(MODEL.encode()) + len(MODEL.encode()) + 4):
            with pytest.raises(FormatError):
                parse_lone(data[:at] + bytes([data[at] ^ 16]) + data[at + 1 :])


def test_what_is_said_of_a_lone_image_whose_model_is_damaged() -> None:
    """The image cannot be found for sure, even where the model is installed."""
    for extras, reason in (
        (Extras(".png", (MODEL,)), "of its beginning, where it carries its model, does not fit; .* is installed$"),
        (Extras(".png"), "of its beginning does not fit$"),
    ):
        data = bytearray(build_lone(replace(LONE, extras=extras)))
        data[data.index(MODEL.encode()) + 60 if extras.models else data.index(b"png")] ^= 16
        with pytest.raises(FormatError, match=reason):
            parse_lone(bytes(data))


def test_a_lone_image_carries_the_model_that_codes_it() -> None:
    for group, models in (
        (replace(LONE, header=replace(LONE.header, model=b"abcd")), (MODEL,)),
        (LONE, (MODEL, MODEL)),
        (Group.of_items([ITEM]), (MODEL,)),
    ):
        with pytest.raises(FormatError, match="carries a model that does not code its image"):
            parse_lone(build_lone(replace(group, extras=Extras(None, models))))
    for count in (0, 3):
        with pytest.raises(FormatError, match="models"):
            parse_lone(b"\xbb\xc1\x05\x02" + varint(count) + bytes(99))


def test_a_long_model_is_no_reason_to_take_memory() -> None:
    start = b"\xbb\xc1\x05\x02\x01"
    data = start + varint(MAX_CONTENT_BYTES + 1)
    with pytest.raises(FormatError, match="the limit is"):
        parse_lone(data)
    with pytest.raises(FormatError, match="cut short"):
        parse_lone(start + varint(MAX_CONTENT_BYTES))
