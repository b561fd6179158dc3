"""Section "Sharded archives" of docs/format.md."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from .names import check_name
from .primitives import FormatError, check

HEAD = ["format", "version", "name", "shards", "images", "pixels", "bytes", "unread", "models", "settings"]
SHARD = ["file", "images", "groups", "pixels", "bytes", "sha256", "first", "last", "models", "carried"]


@dataclass
class Manifest:
    """Sharded archives: the lines of a manifest but that of its checksum."""

    head: dict[str, Any]
    shards: list[dict[str, Any]]
    unread: list[dict[str, Any]]


def read_manifest(data: bytes) -> Manifest:
    """Sharded archives: all lines, checked."""
    check(len(data) <= 2**29 and data.endswith(b"\n"), "too long, or cut")
    lines = data.splitlines(keepends=True)
    check(all(len(line) <= 2**17 for line in lines), "a line that is too long")
    head, *records, end = [read_line(line) for line in lines] if len(lines) > 1 else ({}, {})
    body = b"".join(lines[:-1])
    check(end == {"sha256": hashlib.sha256(body).hexdigest()}, "another checksum")
    check(list(head) == HEAD and (head["format"], head["version"]) == ("bbc shards", 1), "another first line")
    check(all(type(head[key]) is int for key in HEAD[3:8]), "a number that is none")
    check(0 < head["shards"] <= 2**20 and head["unread"] <= 2**20, "too many lines")
    check(len(records) == head["shards"] + head["unread"], "another number of lines")
    shards, unread = records[: head["shards"]], records[head["shards"] :]
    for key in ("images", "pixels", "bytes"):
        check(sum(shard.get(key, 0) for shard in shards) == head[key], "another sum")
    for shard in shards:
        check_shard(shard, head)
    check(all(list(record) == ["name", "reason"] for record in unread), "another line of an unread file")
    numbers = [shard["file"] for shard in shards]
    check(len(set(numbers)) == len(numbers), "a file twice")
    for before, shard in pairwise(shards):
        check(comes_before(before["last"], shard["first"]), "names out of order")
        check(not shard["first"].startswith(before["last"] + "/"), "a folder of a file's name")
    used = {model for shard in shards for model in shard["models"] + shard["carried"]}
    check(list(head["models"]) == sorted(used), "other models")
    return Manifest(head, shards, unread)


def read_line(line: bytes) -> Any:
    """Sharded archives: a record, in the one way to write it."""
    try:
        record = json.loads(line)
    except ValueError:
        raise FormatError("no JSON") from None
    check(isinstance(record, dict), "no record")
    for key in ("models", "settings"):
        if isinstance(record.get(key), dict):
            check(list(record[key]) == sorted(record[key]), "keys out of order")
    check(json.dumps(record, separators=(",", ":")).encode() + b"\n" == line, "another way to write it")
    return record


def check_shard(shard: dict[str, Any], head: dict[str, Any]) -> None:
    """Sharded archives: one line of a shard."""
    check(list(shard) == SHARD, "another line of a shard")
    check(bool(re.fullmatch(re.escape(head["name"]) + r"-[0-9]{5,7}\.bbc", shard["file"])), "another name of a file")
    check(all(type(shard[key]) is int and shard[key] > 0 for key in SHARD[1:5]), "a number that is none")
    check(shard["images"] <= 2**31, "too many images")
    check(bool(re.fullmatch("[0-9a-f]{64}", shard["sha256"])), "no checksum")
    for name in (shard["first"], shard["last"]):
        check_name(name.encode())
    check(shard["first"] == shard["last"] or comes_before(shard["first"], shard["last"]), "first behind last")
    for key in ("models", "carried"):
        check(shard[key] == sorted(set(shard[key])), "models out of order")


def comes_before(one: str, other: str) -> bool:
    """Sharded archives: the order of names."""
    return one.replace("/", "\0") < other.replace("/", "\0")
