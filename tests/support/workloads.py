"""The worst inputs that are known of each reader, and how their cost in processor time grows with their size."""

from __future__ import annotations

import io
import struct
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from bbcompress import register_pillow
from bbcompress.archive.container import ArchiveFile, ArchiveWriter
from bbcompress.archive.embedded import MAX_MODELS, MODEL_START, EmbeddedModel, encode_block
from bbcompress.archive.group import Group, join_items
from bbcompress.archive.header import GroupHeader
from bbcompress.archive.lone import build_lone
from bbcompress.archive.manifest import MANIFEST, Manifest, Shard, Unread
from bbcompress.archive.names import FolderFinder, NumberedNames, Run, span_of_names
from bbcompress.archive.parts import Part, encode_parts
from bbcompress.archive.sharded import ShardedFile, ShardSource
from bbcompress.codecs.fallback.items import decode_item
from bbcompress.collection import Archive
from bbcompress.errors import BBCError
from bbcompress.images.formats.png.convert import write_png
from bbcompress.images.image import from_array
from bbcompress.images.read import read_frames, read_image
from bbcompress.pipeline.names import image_names
from bbcompress.pipeline.reader import Reader
from bbcompress.wire import crc32, pack, varint

PREFIX = b"\xbb\xc1\x01"
"""What every segment of an archive begins with; written out, for this runs on older versions, too."""

REPEATS = 3


@dataclass(frozen=True)
class Workload:
    """An input that grows.

    n: the size at which the cost is measured, and at twice it; large enough for some tens of milliseconds.
    prepare: takes a size and an empty folder, makes the input, and returns the function whose cost is measured.
    unit: what n counts.
    """

    name: str
    n: int
    unit: str
    prepare: Callable[[int, Path], Callable[[], object]]


def cost(workload: Workload, n: int, folder: Path, repeats: int = REPEATS) -> float:
    """Processor seconds (user and system, of this process) of the workload at size n: the least of so many runs."""
    folder.mkdir(parents=True)
    run = workload.prepare(n, folder)
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        seconds.append(time.process_time() - start)
    return min(seconds)


def _directory(entries: list[tuple[int, int, int, int]], following: int = 0) -> bytes:
    """A directory of a TIFF: tags with their types, counts and values, or where these stand."""
    return (
        struct.pack("<H", len(entries))
        + b"".join(struct.pack("<HHII", *entry) for entry in entries)
        + struct.pack("<I", following)
    )


def _grey_tiff(
    height: int, more: list[tuple[int, int, int, int]], offsets: tuple[int, int, int]
) -> list[tuple[int, int, int, int]]:
    """Entries for grey, one pixel wide. offsets: how many strips there are, where their places and lengths stand."""
    count, places, lengths = offsets
    base = [
        (256, 4, 1, 1),
        (257, 4, 1, height),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, count, places),
    ]
    return sorted([*base, (277, 3, 1, 1), (278, 4, 1, max(1, height // count)), (279, 4, count, lengths), *more])


def _tags_of_a_tiff(n: int, _: Path) -> Callable[[], object]:
    tags = [(40_000 + number, 4, 1, number) for number in range(n)]
    directory = _directory(_grey_tiff(1, tags, (1, 8, 1)))
    return reading(b"II*\0" + struct.pack("<I", 10) + b"\0\0" + directory)


def _directories_of_a_tiff(n: int, _: Path) -> Callable[[], object]:
    data = b"II*\0" + struct.pack("<I", 10) + b"\0\0"
    size = len(_directory(_grey_tiff(1, [], (1, 8, 1))))
    for number in range(n):
        following = 10 + (number + 1) * size if number < n - 1 else 0
        data += _directory(_grey_tiff(1, [], (1, 8, 1)), following)
    return frames(data)


def _shared_directories_of_a_tiff(n: int, _: Path) -> Callable[[], object]:
    """Each image has all the bytes of the file before it as a tag."""
    data = b"II*\0" + struct.pack("<I", 10) + b"\0\0"
    size = len(_directory(_grey_tiff(1, [(50_000, 7, 1, 0)], (1, 8, 1))))
    for number in range(n):
        following = 10 + (number + 1) * size if number < n - 1 else 0
        data += _directory(_grey_tiff(1, [(50_000, 7, max(5, len(data)), 0)], (1, 8, 1)), following)
    return frames(data)


def _compressed_images_of_a_tiff(n: int, _: Path) -> Callable[[], object]:
    pages = [Image.new("L", (256, 256), number % 256) for number in range(n)]
    file = io.BytesIO()
    pages[0].save(file, "TIFF", save_all=True, append_images=pages[1:], compression="packbits")
    return frames(file.getvalue())


def _jpegs_of_a_tiff(n: int, _: Path) -> Callable[[], object]:
    """So many strips, and as many tables that count for each of them."""
    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "JPEG")
    strip = file.getvalue()
    tables = b"\xff\xd8" + n * (b"\xff\xdb\0\x43\0" + bytes([1]) * 64) + b"\xff\xd9"
    places, lengths = 8 + len(strip) * np.arange(n, dtype="<u4"), np.full(n, len(strip), "<u4")
    data = n * strip + places.tobytes() + lengths.tobytes() + tables
    start = 8 + n * len(strip)
    directory = _directory(
        [
            (256, 4, 1, 8),
            (257, 4, 1, 8 * n),
            (258, 3, 1, 8),
            (259, 3, 1, 7),
            (262, 3, 1, 1),
            (273, 4, n, start),
            (277, 3, 1, 1),
            (278, 4, 1, 8),
            (279, 4, n, start + 4 * n),
            (347, 7, len(tables), start + 8 * n),
        ]
    )
    return reading(b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory)


def _strips_of_a_tiff(n: int, _: Path) -> Callable[[], object]:
    """Rows that stand in the file in the wrong order, so that each is read by itself."""
    places, lengths = np.arange(8 + n - 1, 7, -1, dtype="<u4"), np.ones(n, "<u4")
    start = 8 + n
    data = bytes(n) + places.tobytes() + lengths.tobytes()
    directory = _directory(_grey_tiff(n, [], (n, start, start + 4 * n)))
    return reading(b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory)


def _runs_of_a_bmp(n: int, _: Path) -> Callable[[], object]:
    runs = b"\1\1" * 256 + b"\0\0"
    header = struct.pack("<IiiHHIIIIII", 40, 256, n, 1, 8, 1, 0, 0, 0, 2, 0) + bytes(8)
    return reading(struct.pack("<2sIII", b"BM", 0, 0, 14 + len(header)) + header + runs * n + b"\0\1")


def frames(data: bytes) -> Callable[[], object]:
    """A function that reads all images of a file."""

    def run() -> None:
        with suppress(BBCError):
            for _ in read_frames(data):
                pass

    return run


def reading(data: bytes) -> Callable[[], object]:
    """A function that reads the bytes of an image file; that it is refused is no error here."""

    def run() -> None:
        with suppress(BBCError):
            read_image(data)

    return run


def _chunks_of_a_png(n: int, _: Path) -> Callable[[], object]:
    chunk = b"tEXtA\0"
    text = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    image = write_png(from_array(np.zeros((4, 4), np.uint8)))
    return reading(image[:33] + n * text + image[33:])


def _raw(shade: int) -> bytes:
    """A fallback item: one grey pixel."""
    return bytes([1, 1, 1, 1, shade])


def _archive_of(groups: Sequence[Sequence[int]], names: bool = True, after: bytes = b"") -> bytes:
    """An archive of stored images of one pixel in groups of these positions; `after`: is there before it."""
    file = io.BytesIO()
    writer = ArchiveWriter(file)
    for positions in groups:
        header = GroupHeader(count=len(positions), fallback=True)
        items = join_items([_raw(position % 256) for position in positions])
        named = [f"{len(after)}/{position}x" for position in positions] if names else None
        writer.add_group(Group(header, items), named, positions)
    writer.close()
    return after + file.getvalue()


def _additions(n: int) -> bytes:
    """An archive of one image to which one was added again and again."""
    parts = []
    size = 0
    for number in range(n):
        file = io.BytesIO()
        writer = ArchiveWriter(file)
        writer.add_group(Group(GroupHeader(fallback=True), join_items([_raw(number % 256)])), [f"{size}-{number}x"])
        writer.close()
        parts.append(file.getvalue())
        size += len(parts[-1])
    return b"".join(parts)


def _opening(data: bytes) -> Callable[[], object]:
    """A function that opens a file, and then does so to bring out what is whole."""

    def run() -> None:
        for keep_going in (False, True):
            with suppress(BBCError):
                ArchiveFile(io.BytesIO(data), keep_going=keep_going)

    return run


def _repeated(unit: bytes) -> Callable[[int, Path], Callable[[], object]]:
    """A whole archive, and behind it the beginning of a segment and so many units."""
    return lambda n, _: _opening(_archive_of([range(2)]) + PREFIX + n * unit)


def _nested_segments(n: int, _: Path) -> Callable[[], object]:
    return _opening(_archive_of([range(2)]) + n * (PREFIX + b"\x01\x01" + varint(4 * n)))


def _indexes_without_footers(n: int, _: Path) -> Callable[[], object]:
    group = b"\x01\x01\x00"
    group += crc32(group)
    index = b"\x01" + varint(len(group)) + b"\x01\x02\x00\x01x\x00"
    return _opening(_archive_of([range(2)]) + n * (PREFIX + group + index))


def _damaged_indexes(n: int, _: Path) -> Callable[[], object]:
    one = bytearray(_archive_of([range(1)]))
    one[-1] ^= 1
    return _opening(n * bytes(one))


def _small_groups_before_an_end_that_is_cut(n: int, _: Path) -> Callable[[], object]:
    return _opening(_archive_of([[position] for position in range(n)], names=False)[:-1] * 2)


_MODEL = encode_block(EmbeddedModel.of(bytes(32), b"{}", b"weights"))


def _beginnings_of_models(n: int, _: Path) -> Callable[[], object]:
    """Each says that it reaches to the end of the file, where its size stands once more, but no model ends."""
    heads = b"".join(MODEL_START + (8 * (n - at) + 40).to_bytes(4, "little") for at in range(n))
    return _opening(_archive_of([range(2)]) + heads + bytes(range(40)) + (48).to_bytes(4, "little") + b"crc!")


def _models_that_are_read(n: int, _: Path) -> Callable[[], object]:
    """An archive of as many models as there may be, of so many bytes each, which are described and checked."""
    model = EmbeddedModel(bytes(32), pack(b"{}"), np.random.default_rng(0).bytes(n))
    data = _archive_of([range(2)]) + MAX_MODELS * encode_block(model)

    def run() -> None:
        reader = Reader(io.BytesIO(data))
        assert len(reader.describe()["models"]) == 1
        assert len(reader.carried_faults()) == MAX_MODELS

    return run


def _unfinished_behind_additions(n: int, _: Path) -> Callable[[], object]:
    data = _additions(n)
    return _opening(data + data[:40])


def _additions_listed(n: int, folder: Path) -> Callable[[], object]:
    path = folder / "set.bbc"
    path.write_bytes(_additions(n))

    def run() -> None:
        with Archive(path) as archive:
            assert len(list(archive)) == n
            assert [archive.time(position) for position in range(n)] == [None] * n
            assert sum(len(archive.groups[number]) for number in range(n)) == n

    return run


def _frames(n: int, groups: int) -> Callable[[], object]:
    data = _archive_of([range(first, n, groups) for first in range(groups)])
    register_pillow()

    def run() -> None:
        with Image.open(io.BytesIO(data), formats=["BBC"]) as image:
            for frame in range(n):
                image.seek(frame)
                assert image.size == (1, 1)

    return run


def _pixels_of_frames(n: int, groups: int) -> Callable[[], object]:
    data = _archive_of([range(first, n, groups) for first in range(groups)])

    def run() -> None:
        reader = Reader(io.BytesIO(data))
        for position in range(n):
            assert reader.read(position).pixels[0, 0] == position % 256

    return run


def _groups_of_one_image(n: int, _: Path) -> Callable[[], object]:
    data = _archive_of([[position] for position in range(n)])

    def run() -> None:
        with Archive(io.BytesIO(data)) as archive:
            for position in range(n):
                archive.read(position)

    return run


def _images_in_parts(n: int, _: Path) -> Callable[[], object]:
    """Each part of each image is a group, and those of the alpha stand in the other order."""
    one = Group(GroupHeader(count=1, fallback=True), join_items([_raw(7)]))
    parts = [Part([one] * n, range(n)), Part([one] * n, range(n)[::-1])]
    file = io.BytesIO()
    writer = ArchiveWriter(file)
    writer.add_group(Group(GroupHeader(count=n, parts="LA"), encode_parts(parts)), None, range(n))
    writer.close()

    def run() -> None:
        assert sum(1 for _ in Reader(io.BytesIO(file.getvalue())).images()) == n

    return run


def _samples_of_deep(item: bytes) -> Callable[[], object]:
    """A function that decodes an item whose samples end where its bytes do, or before."""

    def run() -> None:
        with suppress(BBCError):
            decode_item(item)

    return run


def _deep(width: int, height: int, data: bytes) -> bytes:
    """An item of grey samples of 16 bits, of all levels there are, whose bits are these bytes."""
    return b"\x08\x06" + varint(width) + varint(height) + b"\0\0" + varint(65535) + b"\0" + data


def _description(n: int, _: Path) -> Callable[[], object]:
    data = _archive_of([[position] for position in range(n)])

    def run() -> None:
        reader = Reader(io.BytesIO(data))
        reader.describe()
        assert sum(1 for _ in reader.entries()) == n

    return run


def _lone_with_bytes_behind(n: int, _: Path) -> Callable[[], object]:
    data = build_lone(Group.of_items([_raw(7)])) + np.random.default_rng(0).bytes(n)

    def run() -> None:
        with suppress(BBCError):
            Reader(io.BytesIO(data))

    return run


def png_of(n: int, name: bytes, body: bytes = b"") -> bytes:
    """A PNG with so many more chunks before its pixels."""
    image = write_png(from_array(np.zeros((4, 4), np.uint8)))
    chunk = struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return image[:33] + n * chunk + image[33:]


_TABLE_OF_CODES = b"\xff\xc4\0\x14\x13\1" + bytes(15) + b"\1"


def _restarting_jpeg(rows: int) -> bytes:
    """A restart marker behind each block."""
    file = io.BytesIO()
    Image.new("L", (800, 8 * rows)).save(file, "JPEG", restart_marker_blocks=1)
    return file.getvalue()


def jpeg_of(n: int, segment: bytes) -> bytes:
    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "JPEG")
    data = file.getvalue()
    return data[:20] + n * segment + data[20:]


def gif_of(n: int, extension: bytes) -> bytes:
    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "GIF")
    data = file.getvalue()
    place = 13 + 3 * (2 << (data[10] & 7))
    return data[:place] + n * extension + data[place:]


def webp_of(n: int, chunk: bytes) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "WEBP", lossless=True)
    body = file.getvalue()[8:] + n * chunk
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _frames_of_a_gif(n: int, _: Path) -> Callable[[], object]:
    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "GIF")
    data = file.getvalue()
    place = data.index(b",")
    frames = data[:place] + n * data[place:-1] + b";"

    def run() -> None:
        assert sum(1 for _ in read_frames(frames)) == n

    return run


def _frames_of_an_apng(n: int, _: Path) -> Callable[[], object]:
    file = io.BytesIO()
    pictures = [Image.new("L", (8, 8), number % 256) for number in range(n)]
    pictures[0].save(file, "PNG", save_all=True, append_images=pictures[1:])
    return lambda: sum(1 for _ in read_frames(file.getvalue()))


def _folders_of_deep_names(n: int, _: Path) -> Callable[[], object]:
    """Each name has two thousand folders of its own."""
    names = tuple(f"{number:05}/{'a/' * 1900}b" for number in range(n))

    def run() -> None:
        finder = FolderFinder([names])
        assert all(finder.find(f"{number:05}/a/a") is not None for number in range(n))

    return run


def _names_that_would_be_one(n: int, _: Path) -> Callable[[], object]:
    """They are too long, and the same where they are cut."""
    names = [f"{'a' * 260}{number}.png" for number in range(n)]
    names += [f"{'b' * 251}{number}/{number}" for number in range(n)]

    def run() -> None:
        assert len({*image_names(names)}) == len(names)

    return run


def _lost_shards(n: int, _: Path) -> Callable[[], object]:
    """A manifest of shards that are not there, and of as many files that could not be read."""
    models = {f"{number:064x}": "model" for number in range(10)}
    shards = [
        Shard(f"a-{number:05}.bbc", 9, 2, 9, 9, 64 * "0", f"{number:06}/a", f"{number:06}/b", tuple(models))
        for number in range(n)
    ]
    data = Manifest("a", shards, [Unread(f"{number}", "is empty") for number in range(n)], models, {}).encode()

    def missing(file: str) -> BinaryIO:
        raise FileNotFoundError(file)

    def run() -> None:
        with ShardSource(data, MANIFEST, missing) as source:
            archive = ShardedFile(source, keep_going=True)
            assert (archive.image_count, len(archive.groups)) == (9 * n, n)
            assert archive.find(f"{n // 2:06}/a1") is None
            assert archive.names[-1] is None and archive.fault is not None

    return run


def _numbered_names(n: int, _: Path) -> Callable[[], object]:
    """Runs of a hundred million names each, of which the least and the greatest are looked for."""
    runs = NumberedNames([Run(f"{number}-", "", 0, 0, 10**8) for number in range(n)])

    def run() -> None:
        assert span_of_names([runs, ["/"], ["~"]]) == ("/", "~")

    return run


WORKLOADS = [
    Workload("PNG, empty parts of the pixels", 50_000, "chunks", lambda n, _: reading(png_of(n, b"IDAT"))),
    Workload("PNG, unknown chunks", 50_000, "chunks", lambda n, _: reading(png_of(n, b"unKn"))),
    Workload("PPM, one long comment", 12, "characters", lambda n, _: reading(b"P6 " + n * b"#")),
    Workload("PPM, comments in the header", 20_000, "comments", lambda n, _: reading(b"P6\n" + n * b"#\n" + b"1 1 1")),
    Workload("PGM, plain, comments", 10_000, "comments", lambda n, _: reading(b"P2 1 1 255 " + n * b"#\n" + b"1")),
    Workload("GIF, short extensions", 10_000, "extensions", lambda n, _: reading(gif_of(n, b"!\xff\x01a\0"))),
    Workload(
        "GIF, comment of short blocks",
        20_000,
        "blocks",
        lambda n, _: reading(gif_of(1, b"!\xfe" + n * b"\1a" + b"\0")),
    ),
    Workload("GIF, comments", 20_000, "comments", lambda n, _: reading(gif_of(n, b"!\xfe\1a\0"))),
    Workload("GIF, frames", 500, "frames", _frames_of_a_gif),
    Workload("APNG, frames", 200, "frames", _frames_of_an_apng),
    Workload("JPEG, comments", 20_000, "segments", lambda n, _: reading(jpeg_of(n, b"\xff\xfe\0\2"))),
    Workload(
        "JPEG, parts of profiles",
        20_000,
        "segments",
        lambda n, _: reading(jpeg_of(n, b"\xff\xe2\0\x10ICC_PROFILE\0\1\1")),
    ),
    Workload("JPEG, parts of EXIF", 20_000, "segments", lambda n, _: reading(jpeg_of(n, b"\xff\xe1\0\x09Exif\0\0a"))),
    Workload("JPEG, tables of codes", 5_000, "segments", lambda n, _: reading(jpeg_of(n, _TABLE_OF_CODES))),
    Workload("JPEG, restart markers", 3_000, "rows of 100", lambda n, _: reading(_restarting_jpeg(n))),
    Workload("WebP, unknown chunks", 50_000, "chunks", lambda n, _: reading(webp_of(n, b"ABCD\0\0\0\0"))),
    Workload("PNG, short texts", 20_000, "chunks", _chunks_of_a_png),
    Workload("archive, prefixes", 80_000, "prefixes", lambda n, _: _opening(n * PREFIX)),
    Workload("archive, prefixes and flags", 10_000, "prefixes", _repeated(PREFIX + b"\0abcd")),
    Workload("archive, segments in segments", 24_000, "prefixes", _nested_segments),
    Workload("archive, groups with wrong checksums", 4_000, "groups", _repeated(b"\x01\x01\x00crc!")),
    Workload("archive, segments of such groups", 8_000, "groups", _repeated(PREFIX + b"\x01\x01\x00crc!")),
    Workload("archive, groups like indexes", 8_000, "groups", _repeated(b"\x01\x01\x01\xbb\xc1\x01\x01\x01\x01")),
    Workload("archive, headers of many batches", 2_000, "headers", _repeated(PREFIX + b"\0abcd" + 40 * b"\x81\x01")),
    Workload("archive, indexes without footers", 1_500, "segments", _indexes_without_footers),
    Workload("archive, damaged indexes", 2_000, "segments", _damaged_indexes),
    Workload("archive, small groups, cut", 4_000, "groups", _small_groups_before_an_end_that_is_cut),
    Workload(
        "archive, zeros behind it", 20_000_000, "bytes", lambda n, _: _opening(_archive_of([range(2)]) + bytes(n))
    ),
    Workload(
        "archive, noise behind it",
        500_000,
        "bytes",
        lambda n, _: _opening(_archive_of([range(2)]) + np.random.default_rng(0).bytes(n)),
    ),
    Workload(
        "archive, models behind it", 20_000, "models", lambda n, _: _opening(_archive_of([range(2)]) + n * _MODEL)
    ),
    Workload(
        "archive, segments with damaged models",
        1_000,
        "segments",
        lambda n, _: _opening(n * (_archive_of([range(2)]) + _MODEL[:-9] + b"?" + _MODEL[-8:])),
    ),
    Workload("archive, beginnings of models", 20_000, "beginnings", _beginnings_of_models),
    Workload("archive, models that are read", 100_000, "bytes of each", _models_that_are_read),
    Workload("archive, unfinished behind additions", 1_000, "additions", _unfinished_behind_additions),
    Workload("archive, names after additions", 1_000, "additions", _additions_listed),
    Workload("archive, facts and entries", 1_000, "groups", _description),
    Workload("archive, groups of one image", 2_000, "groups", _groups_of_one_image),
    Workload("archive, frames of one group", 1_000, "frames", lambda n, _: _frames(n, 1)),
    Workload("archive, frames of two groups in turn", 1_000, "frames", lambda n, _: _frames(n, 2)),
    Workload("archive, pixels of two groups in turn", 1_000, "images", lambda n, _: _pixels_of_frames(n, 2)),
    Workload("no file of bbc", 20_000_000, "bytes", lambda n, _: _opening(bytes(n))),
    Workload("lone image, noise behind it", 1_000_000, "bytes", _lone_with_bytes_behind),
    Workload("TIFF, tags", 10_000, "tags", _tags_of_a_tiff),
    Workload("TIFF, images", 500, "images", _directories_of_a_tiff),
    Workload("TIFF, images that share their bytes", 500, "images", _shared_directories_of_a_tiff),
    Workload("TIFF, strips", 50_000, "strips", _strips_of_a_tiff),
    Workload("TIFF, JPEG strips and tables", 1_000, "strips", _jpegs_of_a_tiff),
    Workload("TIFF, compressed images", 100, "images", _compressed_images_of_a_tiff),
    Workload("archive, images in parts", 500, "images", _images_in_parts),
    Workload(
        "deep, rows of noise",
        16,
        "rows of 256 samples",
        lambda n, _: _samples_of_deep(_deep(256, n, np.random.default_rng(0).bytes(1024 * n))),
    ),
    Workload(
        "deep, one row of noise",
        4_000,
        "samples",
        lambda n, _: _samples_of_deep(_deep(n, 1, np.random.default_rng(0).bytes(4 * n))),
    ),
    Workload("BMP, runs", 500, "rows of 256 runs", _runs_of_a_bmp),
    Workload("names of many folders", 1_000, "names", _folders_of_deep_names),
    Workload("names that would be one", 1_000, "pairs of names", _names_that_would_be_one),
    Workload("manifest, shards that are lost", 400, "shards", _lost_shards),
    Workload("names, runs of numbers", 1_000, "runs", _numbered_names),
]
