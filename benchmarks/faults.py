"""Damaged files, thousands of them: is each refused in one line, or read exactly?

    python benchmarks/faults.py [--every N] [--json FILE] [--blocks-json FILE]

Small files of every kind are damaged in every way that `FAULTS` lists, and read. What may come of it: an error of one
line; the very images that were in the file, where what changed did not matter; of an archive to which was added, the
images of its first segments, with word of what is behind them. Where checksums are made to fit a forged
file, it may also hold other images, if it is a sound file of these. All else is wrong.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from machine import environment

from bbcompress.errors import BBCError
from bbcompress.images.read import read_image
from bbcompress.system.output import write_file

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / "tests" / "fuzz")]

from damage_for_tests import (  # noqa: E402
    DATA,
    FILES,
    Content,
    block_damages,
    block_outcome,
    compressor_of,
    content,
    grown,
    large,
    lone,
    reader_of,
)
from fuzz_structure import ODD_NUMBERS, mutated_file  # noqa: E402

from bbcompress.wire import varint  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "faults.json"
BLOCK_RESULTS = RESULTS.with_name("faults-blocks.json")
REFUSED, EXACT, BEGINNING, FORGED = "refused", "exact", "beginning", "another sound file"
WRONG, CRASHED, SLOW, LARGE = "wrong", "crashed", "over 20 s", "over 500 MB"
SECONDS, MEGABYTES = 20, 500

Faults = Iterator[bytes]


def _archive_of_colours() -> bytes:
    """Photographs by a model for any size, in blocks."""
    file = io.BytesIO()
    images = [read_image(path) for path in sorted((DATA / "local").glob("middle-*.png"))]
    compressor_of().archive([(f"{n}.png", image) for n, image in enumerate(images)], file)
    return file.getvalue()


MORE: dict[str, Callable[[], bytes]] = {
    "archive with times, added to twice": lambda: grown()[1],
    "lone in blocks, local model": lambda: lone(read_image(DATA / "local" / "small.png")),
    "lone, residual model": lambda: lone(read_image(next(iter(sorted((DATA / "resnet").glob("*.png")))))),
    "archive in blocks, local model": _archive_of_colours,
}


def flipped(data: bytes, every: int, mask: int) -> Faults:
    for place in range(0, len(data), every):
        yield data[:place] + bytes([data[place] ^ mask]) + data[place + 1 :]


def put(data: bytes, every: int, value: int) -> Faults:
    for place in range(0, len(data), every):
        if data[place] != value:
            yield data[:place] + bytes([value]) + data[place + 1 :]


def cut(data: bytes, every: int) -> Faults:
    yield from (data[:length] for length in range(0, len(data), every))


def left_out(data: bytes, every: int) -> Faults:
    yield from (data[:place] + data[place + 1 :] for place in range(0, len(data), every))


def doubled(data: bytes, every: int) -> Faults:
    yield from (data[: place + 1] + data[place:] for place in range(0, len(data), every))


def zeros(data: bytes, every: int) -> Faults:
    for start in range(0, len(data), 4 * every):
        for length in (16, len(data)):
            yield data[:start] + bytes(min(length, len(data) - start)) + data[start + length :]


def garbage(data: bytes, every: int) -> Faults:
    choice = random.Random(0)
    for size in range(1, 40):
        yield data + choice.randbytes(size)
        yield choice.randbytes(size) + data


def spliced(data: bytes, every: int) -> Faults:
    """Parts of the file in the place of others."""
    choice = random.Random(0)
    for _ in range(max(20, 300 // every)):
        start, end = sorted(choice.randrange(len(data) + 1) for _ in range(2))
        place = choice.randrange(len(data) + 1)
        yield data[:place] + data[start:end] + data[place + choice.choice([0, end - start]) :]


def forged_numbers(data: bytes, every: int) -> Faults:
    """Numbers that limits are made for, in the place of other bytes; the checksums say what they said."""
    for place in range(0, len(data), 4 * every):
        for number in ODD_NUMBERS:
            yield data[:place] + varint(number) + data[place + 1 :]


def forged(data: bytes, every: int) -> Faults:
    """Parts changed, or numbers put in, and all lengths and checksums made to fit."""
    choice = random.Random(0)

    def change(part: bytes) -> bytes:
        place = choice.randrange(len(part) + 1)
        return part[:place] + choice.randbytes(choice.randrange(3)) + part[place + choice.randrange(3) :]

    for _ in range(max(40, 1000 // every)):
        yield mutated_file(data, change, choice)


def blocks(count: int) -> dict[str, Any]:
    """Archives to which was added, damaged by blocks: what comes of so many faults of each, by kind, and how many took
    over 5 s."""
    logging.getLogger("bbcompress").setLevel(logging.ERROR)  # of what is behind whole segments
    start = time.process_time()
    report: dict[str, Any] = {}
    for name, shape in {"large": {}, "small": {"segments": 6, "images": 3, "side": 9}}.items():
        data = large(**shape)
        expected = content(data)
        counts: dict[str, Counter[str]] = {}
        slow = 0
        for kind, damaged in block_damages(data, count):
            begin = time.process_time()
            try:
                found = block_outcome(damaged, data, expected)
            except Exception as error:
                found = f"{CRASHED}: {type(error).__name__}"
            slow += time.process_time() - begin > 5
            counts.setdefault(kind, Counter())[found] += 1
        total = sum(counts.values(), Counter[str]())
        report[name] = {"bytes": len(data), "total": dict(total), "over 5 s": slow,
                        "by_fault": {kind: dict(its) for kind, its in counts.items()}}  # fmt: skip
    spent = round(time.process_time() - start)
    return {"environment": environment(), "faults": count, "cpu_seconds": spent, "archives": report}


FAULTS: dict[str, Callable[[bytes, int], Faults]] = {
    "a bit flipped, lowest": partial(flipped, mask=0x01),
    "a bit flipped, highest": partial(flipped, mask=0x80),
    "a byte inverted": partial(flipped, mask=0xFF),
    "a byte 00": partial(put, value=0x00),
    "a byte FF": partial(put, value=0xFF),
    "cut short": cut,
    "a byte left out": left_out,
    "a byte doubled": doubled,
    "stretches of zeros": zeros,
    "bytes before or behind": garbage,
    "parts moved": spliced,
    "odd numbers put in": forged_numbers,
    "forged, checksums fit": forged,
}


def outcome(damaged: bytes, original: bytes, expected: Content, fault: str) -> tuple[str, str]:
    """What comes of reading a damaged file, and of what is wrong the reason."""
    begin, before = time.process_time(), _peak()
    try:
        found, why = _read(damaged, original, expected, fault)
    except Exception as error:
        found, why = CRASHED, f"{type(error).__name__}: {error}"
    if time.process_time() - begin > SECONDS:
        found = SLOW
    if _peak() - before > MEGABYTES:
        found = LARGE
    return found, why


def _read(damaged: bytes, original: bytes, expected: Content, fault: str) -> tuple[str, str]:
    try:
        found = content(damaged)
    except BBCError as error:
        one_line = str(error) and "\n" not in str(error)
        return (REFUSED, "") if one_line else (WRONG, f"not one line: {error}")
    if found == expected:
        return EXACT, ""
    reader = reader_of(damaged)
    told = reader.is_archive and (reader.tail.size or damaged == original[: len(damaged)])
    if told and found == expected[: len(found)]:  # what is not told of was cut just where an addition begins
        return BEGINNING, ""
    if fault == "forged, checksums fit":
        return FORGED, ""
    return WRONG, "other images"


def _peak() -> float:
    """Most memory of the process until now, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1000 if sys.platform != "darwin" else 1e6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, help="damage each so many-th byte only; 0: blocks alone")
    parser.add_argument("--blocks", type=int, default=600, help="faults of blocks of each archive")
    parser.add_argument("--json", type=Path, default=RESULTS)
    parser.add_argument("--blocks-json", type=Path, default=BLOCK_RESULTS)
    options = parser.parse_args()
    by_blocks = blocks(options.blocks)
    write_file(options.blocks_json, (json.dumps(by_blocks, indent=1) + "\n").encode(), force=True)
    print(json.dumps(by_blocks["archives"], indent=1))
    if not options.every:
        return
    report = run(options.every)
    write_file(options.json, (json.dumps(report, indent=1) + "\n").encode(), force=True)
    print(json.dumps(report["by_fault"], indent=1))
    if report["bad"]:
        raise SystemExit("\n".join(report["bad"]))


def run(every: int, files: dict[str, Callable[[], bytes]] | None = None) -> dict[str, Any]:
    """Damage all files, and count what comes of it by file and by fault."""
    logging.getLogger("bbcompress").setLevel(logging.ERROR)  # of every unfinished end
    begin = time.process_time()
    by_fault: dict[str, Counter[str]] = {fault: Counter() for fault in FAULTS}
    by_file: dict[str, Counter[str]] = {}
    sizes, bad = {}, []
    for name, make in ({**FILES, **MORE} if files is None else files).items():
        data = make()
        expected = content(data)
        sizes[name] = len(data)
        by_file[name] = Counter()
        for fault, damage in FAULTS.items():
            for damaged in damage(data, every):
                if damaged == data:
                    continue
                found, why = outcome(damaged, data, expected, fault)
                by_fault[fault][found] += 1
                by_file[name][found] += 1
                if found in (WRONG, CRASHED, SLOW, LARGE):
                    bad.append(f"{name}, {fault}: {found}: {why}: {damaged[:2000].hex()}")
    return {
        "environment": environment(),
        "every": every,
        "cpu_seconds": round(time.process_time() - begin),
        "peak_MB": round(_peak()),
        "tried": sum(sum(counts.values()) for counts in by_file.values()),
        "by_fault": {fault: dict(counts) for fault, counts in by_fault.items()},
        "by_file": {name: {"bytes": sizes[name], **counts} for name, counts in by_file.items()},
        "bad": bad,
    }


if __name__ == "__main__":
    main()
