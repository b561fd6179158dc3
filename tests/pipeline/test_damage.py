"""Damaged files: an error, or the very images where a byte did not matter; never other pixels, never another error."""

from __future__ import annotations

import io
import itertools
import tracemalloc
from collections import Counter
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from calls_for_tests import at_most
from cases_for_tests import one_test_of
from damage_for_tests import (
    CUT,
    DATA,
    FILES,
    LOUD,
    MASKS,
    NOTED,
    REFUSED_ALL,
    Content,
    archive,
    block_damages,
    block_outcome,
    check,
    content,
    digits,
    grown,
    large,
    lone,
    reader_of,
)
from models_for_tests import models_in, sampled_strips, tiny_local

from bbcompress.archive.container import ArchiveFile, ArchiveWriter
from bbcompress.archive.file import BBCFile, is_archive
from bbcompress.archive.group import Group, join_items
from bbcompress.archive.header import MAX_GROUP_IMAGES, MAX_LANES, GroupHeader
from bbcompress.archive.lone import build_lone, parse_lone
from bbcompress.archive.search import TailKind
from bbcompress.archive.signature import ADDING, PREFIX
from bbcompress.codecs.fallback.items import encode_item
from bbcompress.errors import BBCError, FormatError
from bbcompress.exact.backend import NumpyBackend
from bbcompress.images.image import PixelImage, from_array
from bbcompress.images.kinds import GREY, Kind
from bbcompress.images.metadata import EXIF, MAX_IMAGE_BYTES, RECORD_COST
from bbcompress.limits import MAX_K
from bbcompress.models.cache import Models
from bbcompress.models.checkpoint import save
from bbcompress.models.zoo import Zoo
from bbcompress.pipeline.reader import Reader
from bbcompress.wire import crc32, pack, varint

MOST_CALLS = 2_000_000
"""Against work that a file claims: what is measured with it takes a tenth at most."""

MAX_PEAK_BYTES = 100_000_000


def _same(image: PixelImage) -> PixelImage:
    return image


@pytest.fixture(scope="module", params=FILES)
def file(request: pytest.FixtureRequest) -> bytes:
    return FILES[request.param]()


def test_the_undamaged_file(file: bytes) -> None:
    assert check(file, content(file))


def test_cut_at_every_length(file: bytes) -> None:
    expected = content(file)
    for length in range(len(file)):
        assert not check(file[:length], expected)


@pytest.mark.parametrize("mask", MASKS)
def test_every_byte_flipped(file: bytes, mask: int) -> None:
    expected = content(file)
    survived = 0
    for place in range(len(file)):
        damaged = bytearray(file)
        damaged[place] ^= mask
        survived += check(bytes(damaged), expected)
    assert survived <= 1  # only a K that a lone image does not use might not matter


def test_every_byte_left_out_or_doubled(file: bytes) -> None:
    expected = content(file)
    for place in range(len(file)):
        check(file[:place] + file[place + 1 :], expected)
        check(file[: place + 1] + file[place:], expected)


@one_test_of("tail", [b"\0", b"\xff", b"\n", bytes(4), bytes(8), PREFIX, ADDING, bytes(1000), b"hello" * 99])
def test_bytes_behind_the_end(file: bytes, tail: bytes) -> None:
    """They are passed over where it is sure that they are no part of the file, and counted."""
    sure = is_archive(file) or parse_lone(file).header.fallback or not tail.strip(b"\0")
    sure &= not is_archive(file) or tail != PREFIX  # what a finished addition begins with
    assert check(file + tail, content(file)) == sure
    if sure:
        reader = reader_of(file + tail)
        list(reader.images())
        found = reader.tail
        zeros = TailKind.UNKNOWN if tail.strip(b"\0") else TailKind.PADDING
        assert (found.size, found.images) == (len(tail), 0)
        assert found.kind is (TailKind.UNFINISHED if is_archive(file) and tail == ADDING else zeros)
    assert not check(tail + file, content(file))


def test_stretches_of_zeros(file: bytes) -> None:
    """As a full disk or a bad transfer leaves them."""
    expected = content(file)
    for start in range(0, len(file), 3):
        for length in (4, 16, len(file)):
            filled = file[:start] + bytes(min(length, len(file) - start)) + file[start + length :]
            if filled != file:
                check(filled, expected)


# Archives to which was added


def everything(data: bytes) -> tuple[Content, list[int | None], int]:
    """All that is in an archive, its times too, and how many bytes at its end are told of as left out."""
    found, reader = content(data), reader_of(data)
    return found, list(reader.times), reader.tail.size


@pytest.mark.parametrize("mask", MASKS)
def test_every_byte_flipped_of_several_segments(mask: int) -> None:
    """Not even an unfinished addition is made of a finished one. (More of the bytes of groups are flipped above.)"""
    _, data = grown()
    groups = ArchiveFile(io.BytesIO(data)).groups
    of_groups = {place for group in groups for place in range(group.offset, group.offset + group.length)}
    for place in range(len(data)):
        if place in of_groups and place % 9:
            continue
        damaged = bytearray(data)
        damaged[place] ^= mask
        with pytest.raises(BBCError):
            everything(bytes(damaged))


def salvaged(data: bytes) -> tuple[Content, list[int | None], BBCFile]:
    """What is brought out of a damaged archive, and the times of these images."""
    reader = reader_of(data, keep_going=True)
    found: Content = []
    times = []
    for done in reader.each(_same):
        for position, image in zip(done.positions, done.results, strict=False):
            found.append((reader.names[position], image))
            times.append(reader.times[position])
    return found, times, reader.file


def test_a_finished_addition_that_is_cut_anywhere() -> None:
    """An error, and on demand all images of the groups that are there as a whole: with their names as soon as the index
    is there as far as these."""
    _, data = grown()
    expected, its_times, _ = everything(data)
    reader = ArchiveFile(io.BytesIO(data))
    groups = reader.groups
    ends = [*(group.offset - 3 for group in groups if data[group.offset - 3 :].startswith(PREFIX)), len(data)]
    for length in range(1, len(data)):
        cut = data[:length]
        whole = [place for group in groups if group.offset + group.length <= length for place in group.positions]
        if length in ends:
            assert everything(cut) == ([expected[place] for place in whole], [its_times[place] for place in whole], 0)
            continue
        begun = max((end for end in ends if end < length), default=0)
        before = sum(group.count for group in groups if group.offset < begun)
        with pytest.raises(FormatError, match=f"stand {length - begun} bytes" if begun else "damaged|not"):
            everything(cut)
        if not whole:
            with pytest.raises(FormatError):
                salvaged(cut)
            continue
        found, times, archive = salvaged(cut)
        assert len(found) == len(whole)
        assert archive.fault is not None
        nameless = {place for some in archive.without_index for place in some}
        unchecked = {place for some in archive.unchecked_index for place in some}
        assert nameless | unchecked <= set(range(before, len(expected)))
        for place, (name, image), its_time in zip(whole, found, times, strict=True):
            assert image == expected[place][1]
            assert name == (None if place in nameless else expected[place][0])
            assert its_time == its_times[place] or (its_time is None and place in nameless | unchecked)
        segment_end = min(end for end in ends if end > length)
        if segment_end - 8 <= length:  # the index is there
            assert not nameless
            assert bool(unchecked) == (length < segment_end - 1)


def test_a_finished_addition_of_which_the_end_is_zeros() -> None:
    """As a power failure leaves it on some file systems. Where all of it is zeros, nothing tells it from padding."""
    first, data = grown()
    expected, _, _ = everything(first)
    last = ArchiveFile(io.BytesIO(data)).groups[-1].offset - len(PREFIX)
    for length in range(len(first) + 1, len(data)):
        filled = data[:length].ljust(len(data), b"\0")
        if length == last:
            assert everything(filled)[2] == len(data) - last
            continue
        with pytest.raises(FormatError, match="bytes that are not whole"):
            everything(filled)
        found, _, archive = salvaged(filled)
        assert found[: len(expected)] == expected
        assert archive.fault is not None
    assert everything(first.ljust(len(data), b"\0"))[2] == len(data) - len(first)


@pytest.mark.parametrize("mask", MASKS)
def test_a_footer_that_is_damaged(mask: int) -> None:
    """A byte of the footer: the index is known to be as it was, with all names and times. A byte of the index: they are
    lost. All of the footer: they are there, unchecked."""
    _, data = grown()
    expected, times, _ = everything(data)
    length = int.from_bytes(data[-8:-4], "little")
    for place in range(len(data) - 8 - length, len(data)):
        damaged = bytearray(data)
        damaged[place] ^= mask
        found, its_times, archive = salvaged(bytes(damaged))
        lost = place < len(data) - 8
        assert (bool(archive.without_index), archive.unchecked_index) == (lost, [])
        assert found[:-2] == expected[:-2]
        assert found[-2:] == ([(None, image) for _, image in expected[-2:]] if lost else expected[-2:])
        assert its_times[-2:] == ([None, None] if lost else times[-2:])
    found, its_times, archive = salvaged(data[:-8] + bytes([mask]) * 8)
    assert (found, its_times) == (expected, times)
    assert archive.unchecked_index == [range(len(expected) - 2, len(expected))]


def test_an_addition_that_was_broken_off_keeps_what_was_there() -> None:
    """Wherever it ends, and where it ends in zeros: the archive as it was, and word of the rest."""
    first, data = grown()
    last = ArchiveFile(io.BytesIO(data)).groups[-1].offset - len(PREFIX)
    second = ADDING + data[len(first) + len(PREFIX) : last]
    expected, times, _ = everything(first)
    for length in range(len(PREFIX), len(second), 2):
        for end in (b"", bytes(700)):
            assert everything(first + second[:length] + end) == (expected, times, length + len(end))


def test_several_segments_with_damage_that_moves_their_end() -> None:
    """An error, or the images of the first segments just as they were, and word of the rest."""
    first, data = grown()
    content_of, times, _ = everything(data)
    sizes = {len(everything(first)[0]), len(content_of) - 2, len(content_of)}
    damaged = [data[:place] + data[place + 1 :] for place in range(0, len(data), 3)]
    damaged += [data[: place + 1] + data[place:] for place in range(1, len(data), 3)]
    damaged += [data[:start] + bytes(16) + data[start + 16 :] for start in range(0, len(data) - 16, 5)]
    for changed in damaged:
        try:
            found, its_times, left_out = everything(changed)
        except BBCError as error:
            assert "\n" not in str(error)
            continue
        assert len(found) in sizes
        assert found == content_of[: len(found)]
        assert its_times == times[: len(found)]
        assert left_out or changed == data[: len(changed)]


@pytest.mark.parametrize("mask", MASKS)
def test_several_segments_salvaged(mask: int) -> None:
    """Whatever byte is flipped: no other images than those there were, and all but those of one group."""
    _, data = grown()
    images = [image for _, image in everything(data)[0]]
    for place in range(0, len(data), 5):
        damaged = bytearray(data)
        damaged[place] ^= mask
        reader = reader_of(damaged, keep_going=True)
        found = [image for done in reader.each(_same) for image in done.results]
        assert all(image in images for image in found)
        assert len(found) >= len(images) - 3


@pytest.mark.parametrize("shape", [{}, {"segments": 6, "images": 3, "side": 9}], ids=["large", "small"])
def test_damage_by_blocks(shape: dict[str, int]) -> None:
    """All images, or an error; with what names there are, each image has its own. benchmarks/faults.py counts more."""
    data = large(**shape)
    expected = content(data)
    images = dict(expected)
    counts: Counter[str] = Counter()
    for _, damaged in block_damages(data, 140):
        counts[block_outcome(damaged, data, expected)] += 1
        try:
            reader = reader_of(damaged, keep_going=True)
        except BBCError:
            continue
        unchecked = {position for some in reader.file.unchecked_index for position in some}
        for done in reader.each(_same):
            for position, image in zip(done.positions, done.results, strict=False):
                name = None if position in unchecked else reader.names[position]
                assert images[name] == image if name is not None else image in images.values()
    assert counts[LOUD] and counts[REFUSED_ALL]
    assert not counts[CUT] and not counts[NOTED]


@pytest.mark.parametrize("k", [0, 2])
@pytest.mark.parametrize("mask", MASKS)
def test_forged_checksums_are_found_out_by_the_messages(k: int, mask: int) -> None:
    """Every byte of a model-coded group flipped, and its CRC made to fit: the message itself is a check."""
    data = archive(k)
    expected = content(data)
    reader = reader_of(data).file
    entry = reader.groups[0]
    assert reader.read_group(0).header.count == 5
    for place in range(entry.length - 4):
        body = bytearray(data[entry.offset : entry.offset + entry.length - 4])
        body[place] ^= mask
        behind = data[entry.offset + entry.length :]
        assert not check(data[: entry.offset] + bytes(body) + crc32(bytes(body)) + behind, expected)


def test_forged_checksum_of_a_lone_fallback() -> None:
    """Nothing but a BBCError, whatever stands in the item; where the CRC fits, other pixels are what it says."""
    for name in ("lone fallback, raw", "lone fallback, WebP", "lone fallback, PNG"):
        data = FILES[name]()
        for place, mask in itertools.product(range(len(data) - 4), MASKS):
            body = bytearray(data[:-4])
            body[place] ^= mask
            try:
                content(bytes(body) + crc32(bytes(body)))
            except BBCError as error:
                assert "\n" not in str(error)


def test_damage_in_one_group_leaves_the_others_readable() -> None:
    data = bytearray(archive())
    reader = reader_of(data)
    first, second = reader.file.groups
    data[first.offset + 20] ^= 1
    damaged = reader_of(data)
    with pytest.raises(FormatError):
        next(damaged.images())
    group = damaged.file.read_group(1)
    header, payload = group.header, group.payload
    assert (header.fallback, header.count, list(second.positions)) == (True, 1, [3])
    assert payload


@one_test_of(
    "foreign",
    [b"", b"\xbb", b"\xbb\xc1", b"\xbb\xc1\x00", b"\xbb\xc1\x01", b"\xbb\xc2\x00", b"hello, world\n", bytes(100)],
)
def test_foreign_files(foreign: bytes) -> None:
    assert not check(foreign, [])
    assert not check((DATA / "digits" / "grey" / "0000.png").read_bytes(), [])


@pytest.mark.parametrize("seed", range(4))
def test_random_bytes_behind_a_true_prefix(seed: int) -> None:
    random = np.random.default_rng(seed)
    model = parse_lone(lone(digits("binary", 0)[0])).header.model
    for size in range(0, 120):
        noise = random.bytes(size)
        for prefix in (b"\xbb\xc1\x00" + model, b"\xbb\xc1\x02", b"\xbb\xc1\x01", b"\xbb\xc1"):
            try:
                content(prefix + noise)
            except BBCError as error:
                assert "\n" not in str(error)
            else:
                raise AssertionError("random bytes gave an image")


# Bounded time and memory


@cache
def _warm_up() -> None:
    """Models, tables and kernels are there before anything is measured."""
    content(lone(digits("binary", 0)[0]))
    content(archive(2))


def bounded(data: bytes, models: Models | None = None) -> None:
    """The file is refused at once, in little memory."""
    _warm_up()
    tracemalloc.start()
    try:
        with pytest.raises(BBCError), at_most(MOST_CALLS):
            content(data, models)
        assert tracemalloc.get_traced_memory()[1] < MAX_PEAK_BYTES
    finally:
        tracemalloc.stop()


def model_id(levels: int = 2) -> bytes:
    return models_in().zoo.candidates((28, 28), Kind.default(1, levels))[0].id


def forged_archive(payload: bytes, metadata: Any = None, **fields: Any) -> bytes:
    """An archive of one group with a header that claims anything; metadata: a block, which may be empty."""
    file = io.BytesIO()
    writer = ArchiveWriter(file)
    group = Group(GroupHeader(**fields), payload)
    if metadata is not None:  # a group itself refuses an empty one
        object.__setattr__(group, "header", replace(group.header, has_metadata=True))
        object.__setattr__(group, "metadata", metadata)
    writer.add_group(group)
    writer.close()
    return file.getvalue()


NOISE = np.random.default_rng(0).bytes(5000)
MOST = (1 << 24) // 784
"""Images of a digit's size that a group may have."""


@one_test_of(
    "fields",
    [
        {"count": MAX_GROUP_IMAGES, "direct": MAX_GROUP_IMAGES},
        {"count": MAX_GROUP_IMAGES, "batches": (MAX_GROUP_IMAGES,)},
        {"count": MOST + 1, "direct": MOST + 1},
        {"count": MOST, "direct": MOST},
        {"count": MOST, "batches": (MOST,)},
        {"count": MOST, "batches": (MOST,), "k": MAX_K},
        {"count": MOST, "direct": 1, "batches": (MOST - 1,), "k": MAX_K, "encoder": "baseline"},
        {"count": 1000, "batches": (1,) * 1000, "k": 1},
        {"count": 10, "direct": 10, "lanes": MAX_LANES},
        {"count": 10, "batches": (10,), "lanes": MAX_LANES, "k": MAX_K},
        {"count": 10, "direct": 10, "size": (1 << 14, 1 << 14)},
        {"count": 10, "direct": 10, "kind": GREY},
        {"count": 10, "direct": 10, "kind": Kind("L", (7, 7))},
    ],
)
@one_test_of("payload", [b"", NOISE[:4], NOISE[:100], NOISE])
def test_headers_that_claim_much(fields: dict[str, Any], payload: bytes) -> None:
    bounded(forged_archive(payload, model=model_id()[:4], **fields))


@pytest.mark.parametrize(("count", "reason"), [(MOST, "end too early"), (MOST + 1, "above the limit")])
def test_the_limit_of_a_group(count: int, reason: str) -> None:
    data = forged_archive(NOISE[:100], model=model_id()[:4], count=count, direct=count)
    with pytest.raises(FormatError, match=reason):
        content(data)


@pytest.mark.parametrize("batches", [(MOST,), (1,) * 20], ids=["one batch", "many batches"])
def test_grey_headers_that_claim_much(batches: tuple[int, ...]) -> None:
    fields = {"model": model_id(256)[:4], "count": sum(batches), "batches": batches}
    bounded(forged_archive(NOISE, k=10, **fields))


@one_test_of("k", [0, MAX_K])
@one_test_of("size", [0, 4, 5000])
def test_lone_headers_that_claim_much(k: int, size: int) -> None:
    header = GroupHeader(model=model_id()[:3], k=k, direct=1)
    bounded(build_lone(Group(header, NOISE[:size])))
    bounded(build_lone(Group(replace(header, size=(1 << 14, 1 << 14)), NOISE[:size])))


def bomb(count: int) -> bytes:
    """A block of metadata, of some hundred bytes, of which nearly all is one record of 16 MiB that all images have."""
    size = MAX_IMAGE_BYTES - RECORD_COST
    content = varint(1) + varint(EXIF) + varint(size) + bytes(size) + varint(1) + varint(0)
    content += (varint(1) + varint(0)) * (count - 1)
    packed = pack(content)
    assert len(packed) < 10_000
    return varint(2 * len(packed) + 1) + packed + crc32(content)


@pytest.mark.parametrize("count", [1, 100])
def test_metadata_that_claims_much(count: int) -> None:
    items = join_items([encode_item(from_array(np.zeros((1, 1), np.uint8)))] * count)
    data = forged_archive(items, fallback=True, count=count, metadata=bomb(count))
    found = content(data)  # it is a good one, and held once
    assert len({id(record) for _, image in found for record in image.metadata}) == 1
    bounded(forged_archive(items, fallback=True, count=count, metadata=bomb(count)[:-1] + b"!"))
    for block in (b"", b"\x01", varint(1 << 40), varint(2 << 20), bomb(1)[:-5], bomb(2)):
        bounded(forged_archive(items, fallback=True, count=count, metadata=block))
        bounded(build_lone(Group(GroupHeader(model=model_id()[:3], direct=1), NOISE[:40]).described(block)))


@one_test_of(
    "item",
    [
        bytes.fromhex("0101") + b"\x80\x80\x01" * 2,  # raw, 2^14 by 2^14
        bytes.fromhex("0301") + b"\x2f" + (0xFFF << 14 | 0xFFF).to_bytes(4, "little"),  # WebP, 2^12 by 2^12
        bytes.fromhex("0201") + bytes.fromhex("0000000d49484452000040000000400008000000005c6a6b0f"),  # PNG
        b"",
        b"\x01",
    ],
)
def test_items_that_claim_much(item: bytes) -> None:
    bounded(build_lone(Group.of_items([item])))
    bounded(forged_archive(join_items([item]), fallback=True))
    bounded(forged_archive(join_items([item]), fallback=True, count=MAX_GROUP_IMAGES))


@one_test_of(
    ("sides", "reason"),
    [
        ([1, 4096, 1], "before its last"),
        ([4096, 4096, 1], "before its last"),
        ([1] * 1000 + [4096, 1], "before its last"),
        ([4096, 4096], "has 0 bytes"),  # the limit is not of the last one
        ([1, 4096], "has 0 bytes"),
    ],
)
def test_items_that_claim_much_together(sides: list[int], reason: str) -> None:
    """Each is below its limit; the sum is looked at before any is decoded."""
    first = lone(from_array(np.zeros((1, 1), np.uint8)))[3:-4]
    claims = [first if side == 1 else b"\1\1" + varint(side) * 2 for side in sides]
    data = forged_archive(join_items(claims), fallback=True, count=len(claims))
    with pytest.raises(FormatError, match=reason):
        content(data)
    bounded(data)


def test_a_file_of_many_claims() -> None:
    """2^31 images in 70 kB are listed by nobody."""
    file = io.BytesIO()
    writer = ArchiveWriter(file)
    for _ in range(2048):
        writer.add_group(Group(GroupHeader(count=MAX_GROUP_IMAGES, fallback=True), b""))
    writer.close()
    assert len(file.getvalue()) < 70_000
    assert Reader(file).image_count == 1 << 31
    bounded(file.getvalue())


# Images in blocks


LOCAL = tiny_local()


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """The chosen model is one for RGB images of any size."""
    folder = tmp_path_factory.mktemp("models")
    save(LOCAL, folder / "local")
    return Models(Zoo(folder), NumpyBackend())


@one_test_of(
    "fields",
    [
        {"size": (1 << 14, 1 << 14)},
        {"size": (1 << 24, 16)},
        {"size": (16, 1 << 24)},
        {"size": (1024, 1024), "k": MAX_K, "encoder": "baseline"},
        {"size": (1, 1), "count": MAX_GROUP_IMAGES},
        {"size": (64, 64), "count": 1365},
        {"size": (64, 64), "count": 1366},
        {"size": (8, 8), "count": 10, "kind": GREY},
    ],
)
@one_test_of("payload", [b"", bytes(100), b"\1\2\xff\xff\x03" * 20, NOISE])
def test_block_headers_that_claim_much(local: Models, fields: dict[str, Any], payload: bytes) -> None:
    bounded(forged_archive(payload, model=LOCAL.id[:4], blocks=True, **fields), local)


@pytest.mark.parametrize("k", [0, 3])
def test_blocks_that_claim_many_lanes(local: Models, k: int) -> None:
    layout = b"".join(map(varint, [MAX_LANES, 1, 1]))
    for message in (b"", NOISE[:100], NOISE, NOISE * 4):
        fields = {"model": LOCAL.id[:4], "blocks": True, "size": (9, 16), "k": k}
        bounded(forged_archive(layout + message, **fields), local)


def test_blocks_of_a_model_that_codes_none(local: Models) -> None:
    image = PixelImage("RGB", sampled_strips(LOCAL, 1, 17, 9).canvas.images[0])
    data = lone(image, local)
    group = parse_lone(data)
    header, payload = group.header, group.payload
    assert header.blocks
    for levels in (2, 256):
        with pytest.raises(FormatError, match="damaged"):
            content(build_lone(Group(replace(header, model=model_id(levels)[:3]), payload)))
