"""Mutations that get behind checksums: of a file's parts one is changed, lengths and checksums are made to fit.

What a fuzzer does to bytes alone ends, nearly always, at the first CRC.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from bbcompress.archive.embedded import MODEL_START
from bbcompress.archive.extras import LONE_WITH_EXTRAS, Extras
from bbcompress.archive.group import take_metadata
from bbcompress.archive.header import GroupHeader
from bbcompress.archive.index import encode_sizes
from bbcompress.archive.manifest import json_line
from bbcompress.archive.names import Budget, name_key
from bbcompress.archive.segments import read_segments
from bbcompress.archive.signature import MAGIC, PREFIX
from bbcompress.errors import FormatError
from bbcompress.images.formats.png.file import PNG_SIGNATURE
from bbcompress.wire import CRC_BYTES, VARINT_MAX, ByteReader, crc32, pack, unpack, varint

Mutate = Callable[[bytes], bytes]
"""Changes some bytes, as the fuzzer likes."""

RAW_SHARE = 0.2
"""So many mutations are of the file as it is."""

ODD_NUMBERS = (0, 1, 2, 127, 128, 255, 256, 1 << 16, 1 << 20, (1 << 24) + 1, 1 << 31, 1 << 32, VARINT_MAX)

ODD_VALUES: tuple[Any, ...] = (
    *ODD_NUMBERS, *(-number for number in ODD_NUMBERS), 1 << 63, 1 << 64, 1 << 200, 3, 5, 7, 16, 24, 64, 1.5, 1e308,
    float("nan"), float("inf"), None, True, "", "local", [], [1], [[]], {}, {"shape": [1]},
)  # fmt: skip
"""Values that settings should not have, or other ones."""

_MOST_UNPACKED = 1 << 16


@dataclass(frozen=True)
class GroupParts:
    """A group: its header, its metadata's content (None for none; packed or not), its payload."""

    header: bytes
    metadata: bytes | None
    packed: bool
    payload: bytes

    def join(self) -> bytes:
        """The bytes of the group, CRC included."""
        block = b"" if self.metadata is None else join_block(self.metadata, self.packed)
        data = self.header + varint(len(block) + len(self.payload)) + block + self.payload
        return data + crc32(data)


@dataclass(frozen=True)
class SegmentParts:
    """A segment: its groups (of what cannot be taken apart the bytes but for the CRC), their numbers of images, the
    index behind these, and the content of the models behind it."""

    groups: tuple[GroupParts | bytes, ...]
    counts: tuple[int, ...]
    rest: bytes
    models: tuple[bytes, ...] = ()

    def join(self, sizes: bytes | None = None) -> bytes:
        """The bytes of the segment. sizes: what the index begins with, instead of what the groups have."""
        groups = [g.join() if isinstance(g, GroupParts) else g + crc32(g) for g in self.groups]
        known = encode_sizes(list(zip(map(len, groups), self.counts, strict=True))) if sizes is None else sizes
        index = known + self.rest
        size = len(index).to_bytes(4, "little")
        return b"".join([PREFIX, *groups, index, size, crc32(PREFIX, index, size), *map(_join_model, self.models)])


def _join_model(content: bytes) -> bytes:
    size = len(content).to_bytes(4, "little")
    data = MODEL_START + size + content + size
    return data + crc32(data)


def join_block(metadata: bytes, packed: bool) -> bytes:
    """A block of metadata that holds these bytes."""
    body = pack(metadata) if packed and metadata else metadata
    return varint(2 * len(body) + (packed and bool(metadata))) + body + crc32(metadata)


def take_apart(data: bytes) -> list[SegmentParts]:
    """The segments of an archive. FormatError where it is none."""
    file = io.BytesIO(data)
    parts = []
    for segment in read_segments(file, len(data), Budget()):
        offset, groups = segment.start + len(PREFIX), []
        for length, _ in segment.index.sizes:
            groups.append(_group(data[offset : offset + length - CRC_BYTES]))
            offset += length
        index = data[offset : offset + segment.index_bytes]
        rest = index[len(encode_sizes(segment.index.sizes)) :]
        models = tuple(data[place.start + 8 : place.end - 8] for place in segment.models)
        parts.append(SegmentParts(tuple(groups), tuple(count for _, count in segment.index.sizes), rest, models))
    return parts


def _group(body: bytes) -> GroupParts | bytes:
    reader = ByteReader(body)
    with suppress(FormatError):
        header = GroupHeader.decode_group(reader)
        start = body[: reader.position]
        if reader.varint() == reader.remaining:
            metadata, packed = _metadata(take_metadata(reader)) if header.has_metadata else (None, False)
            return GroupParts(start, metadata, packed, reader.rest())
    return body


def _metadata(block: bytes) -> tuple[bytes, bool]:
    reader = ByteReader(block)
    length = reader.varint()
    body = reader.take(length >> 1)
    return (unpack(body, _MOST_UNPACKED), True) if length & 1 else (body, False)


def mutated_file(data: bytes, mutate: Mutate, random: Random) -> bytes:
    """A .bbc file with something changed."""
    if random.random() < RAW_SHARE:
        return mutate(data)
    if data[: len(PREFIX)] != PREFIX:
        return _mutated_lone(data, mutate, random)
    try:
        segments = take_apart(data)
    except FormatError:
        return mutate(data)
    number = random.randrange(len(segments))
    joined = [segment.join() for segment in segments]
    joined[number] = _mutated_segment(segments[number], mutate, random)
    if random.random() < 0.1:
        joined.append(random.choice(joined))
    return b"".join(joined)


def _mutated_segment(segment: SegmentParts, mutate: Mutate, random: Random) -> bytes:
    groups, counts = list(segment.groups), list(segment.counts)
    place = random.randrange(len(groups))
    if segment.models and random.random() < 0.3:
        changed = random.randrange(len(segment.models))
        models = [mutate(model) if at == changed else model for at, model in enumerate(segment.models)]
        return replace(segment, models=tuple(models)).join()
    what = random.randrange(8)
    if what == 0:
        return replace(segment, rest=mutate(segment.rest)).join()
    if what == 1:  # numbers and lengths of groups that do not fit them
        sizes = encode_sizes([(len(g.join()) if isinstance(g, GroupParts) else len(g) + 4, c) for g, c in
                              zip(groups, counts, strict=True)])  # fmt: skip
        return segment.join(mutate(sizes))
    if what == 2:
        counts[place] = random.choice(ODD_NUMBERS)
        return replace(segment, counts=tuple(counts)).join()
    if what == 3:
        return replace(segment, rest=_odd_number(segment.rest, random)).join()
    if what == 4 and len(groups) > 1:
        other = random.randrange(len(groups))
        groups[place], counts[place] = groups[other], counts[other]
    else:
        groups[place] = mutated_group(groups[place], mutate, random)
    return replace(segment, groups=tuple(groups), counts=tuple(counts)).join()


def mutated_group(group: GroupParts | bytes, mutate: Mutate, random: Random) -> GroupParts | bytes:
    """A group with something changed."""
    if not isinstance(group, GroupParts):
        return mutate(group)
    what = random.randrange(5)
    if what == 0:
        return replace(group, header=mutate(group.header))
    if what == 1:
        return replace(group, header=_odd_number(group.header, random))
    if what == 2 and group.metadata is not None:
        return replace(group, metadata=mutate(group.metadata), packed=random.random() < 0.5)
    if what == 3:
        return replace(group, payload=_odd_number(group.payload, random))
    return replace(group, payload=mutated_items(group.payload, mutate, random))


def mutated_items(payload: bytes, mutate: Mutate, random: Random) -> bytes:
    """A payload with something changed; where it is one of stored images, in one of these."""
    reader, items = ByteReader(payload), []
    try:
        while reader.remaining:
            items.append(reader.take(reader.varint()))
    except FormatError:
        return mutate(payload)
    if not items:
        return mutate(payload)
    place = random.randrange(len(items))
    items[place] = mutated_item(items[place], mutate, random)
    return b"".join(varint(len(item)) + item for item in items)


def mutated_item(item: bytes, mutate: Mutate, random: Random) -> bytes:
    """A stored image with something changed; of a PNG a chunk."""
    if item[:1] == b"\x02" and random.random() < 0.8:
        chunks = split_chunks(PNG_SIGNATURE + item[2:])
        return item[:2] + _mutated_chunks(chunks, mutate, random)
    return mutate(item)


def _mutated_lone(data: bytes, mutate: Mutate, random: Random) -> bytes:
    if data[2:3] == bytes([LONE_WITH_EXTRAS]) and random.random() < 0.5:
        return _mutated_extras(data, mutate, random)
    body = data[len(MAGIC) : -CRC_BYTES]
    fallback = len(data) > 3 and (data[2] in (2, 3)) and crc32(data[:-CRC_BYTES]) == data[-CRC_BYTES:]
    if not fallback:
        return mutate(data)
    metadata = body[:1] == b"\x03"
    body = mutate(body) if metadata else body[:1] + mutated_item(body[1:], mutate, random)
    return MAGIC + body + crc32(MAGIC, body)


def _mutated_extras(data: bytes, mutate: Mutate, random: Random) -> bytes:
    """A lone image whose extras, or what is behind them, are changed, with the checksums that they have then."""
    reader = ByteReader(data, position=len(MAGIC) + 1)
    try:
        Extras.decode(reader)
    except FormatError:
        return mutate(data)
    start, body = data[: reader.position - CRC_BYTES], data[reader.position : -CRC_BYTES]
    if random.random() < 0.5:
        start = start[:3] + mutate(start[3:])
    else:
        body = body[:1] + mutated_item(body[1:], mutate, random)
    start += crc32(start)
    return start + body + crc32(start, body)


def _odd_number(data: bytes, random: Random) -> bytes:
    """A number, of those that limits are made for, in the place of some bytes."""
    place = random.randrange(len(data) + 1)
    return data[:place] + varint(random.choice(ODD_NUMBERS)) + data[place + random.randrange(3) :]


def mutated_model(data: bytes, mutate: Mutate, random: Random) -> bytes:
    """A checkpoint's weights with a value of the header or of the settings in it, or some integers, changed."""
    size = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + size])
        settings = json.loads(header["__metadata__"]["settings"])
    except (LookupError, TypeError, ValueError, RecursionError):
        return mutate(data)
    choice = random.random()
    if choice < RAW_SHARE:
        return mutate(data)
    body = data[8 + size :]
    if choice < 0.3:
        body = mutate(body)
    elif choice < 0.5:
        _change_somewhere(header, mutate, random)
    else:
        _change_somewhere(settings, mutate, random)
        header["__metadata__"]["settings"] = json.dumps(settings)
    text = json.dumps(header).encode(errors="replace")
    return len(text).to_bytes(8, "little") + text + body


def _change_somewhere(value: Any, mutate: Mutate, random: Random) -> None:
    """Change one of the values that are nested in a JSON value, or leave it out, or say it twice."""
    while True:
        keys = list(value) if isinstance(value, dict) else range(len(value))
        if not keys:
            return
        key = random.choice(keys)
        if isinstance(value[key], dict | list) and value[key] and random.random() < 0.9:
            value = value[key]
            continue
        break
    what = random.randrange(4)
    if what == 0:
        del value[key]
    elif what == 1 and isinstance(value, list):
        value.insert(key, value[key])
    elif isinstance(value[key], str):
        value[key] = mutate(value[key].encode()).decode(errors="replace")
    else:
        value[key] = random.choice(ODD_VALUES)


def mutated_manifest(data: bytes, mutate: Mutate, random: Random) -> bytes:
    """A manifest with a value of a line, or a line, changed; often with the sums and the checksum that it has then."""
    try:
        head, *lines = [json.loads(line) for line in data.splitlines()[:-1]]
        _ = head["models"], [line["file"] for line in lines if len(line) > 2]
    except (LookupError, TypeError, ValueError, RecursionError):
        return mutate(data)
    what = random.random()
    if what < RAW_SHARE:
        return mutate(data)
    place = random.randrange(len(lines)) if lines else 0
    if what < 0.3 and lines:
        lines.insert(random.randrange(len(lines) + 1), dict(lines[place]))
    elif what < 0.4 and lines:
        del lines[place]
    elif what < 0.5:
        _change_somewhere(head, mutate, random)
    else:
        _change_somewhere(lines[place] if lines else head, mutate, random)
    if random.random() < 0.8:
        with suppress(TypeError, ValueError, LookupError):
            _fit(head, lines)
    try:
        body = b"".join(map(json_line, [head, *lines]))
    except (TypeError, ValueError):  # numbers that JSON does not have
        body = json.dumps([head, *lines]).encode()
    return body + json_line({"sha256": hashlib.sha256(body).hexdigest()})


def _fit(head: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    """Make what the first line of a manifest says fit the others."""
    shards = [line for line in lines if "file" in line]
    lines[:] = [
        *sorted(shards, key=lambda shard: name_key(shard["first"])),
        *(one for one in lines if one not in shards),
    ]
    head["shards"], head["unread"] = len(shards), len(lines) - len(shards)
    for name in ("images", "pixels", "bytes"):
        head[name] = sum(shard[name] for shard in shards)
    used = {identity for shard in shards for identity in (*shard["models"], *shard["carried"])}
    head["models"] = {identity: head["models"].get(identity, "a model") for identity in sorted(used)}


def split_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """The name and content of the chunks of a PNG, as far as there are any."""
    chunks, place = [], len(PNG_SIGNATURE)
    while place + 12 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    return chunks


def mutated_png(data: bytes, mutate: Mutate, random: Random) -> bytes:
    """A PNG with a chunk, its pixels or its bytes changed; other files with their bytes."""
    if not data.startswith(PNG_SIGNATURE) or random.random() < RAW_SHARE:
        return mutate(data)
    return PNG_SIGNATURE + _mutated_chunks(split_chunks(data), mutate, random)


def _mutated_chunks(chunks: list[tuple[bytes, bytes]], mutate: Mutate, random: Random) -> bytes:
    if not chunks:
        return mutate(b"")
    place = random.randrange(len(chunks))
    name, body = chunks[place]
    what = random.randrange(6)
    if what == 0:
        chunks.insert(random.randrange(len(chunks)), (name, body))
    elif what == 1:
        del chunks[place]
    elif what == 2 and name == b"IDAT":
        with suppress(zlib.error):
            inflated = zlib.decompressobj().decompress(body, _MOST_UNPACKED)
            body = zlib.compress(mutate(inflated), 1)
        chunks[place] = name, body
    elif what == 3:
        chunks[place] = (mutate(name) + b"tEXt")[:4], body
    else:
        chunks[place] = name, mutate(body)
    return b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
