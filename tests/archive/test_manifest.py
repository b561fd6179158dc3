"""The manifest of a sharded archive: one way to write it, and every other is refused."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest

from bbcompress.archive import manifest as module
from bbcompress.archive.manifest import Manifest, Shard, Unread
from bbcompress.archive.names import name_key
from bbcompress.errors import FormatError

ONE, OTHER = "1" * 64, "2" * 64


def shard(number: int, first: str, last: str, **others: Any) -> Shard:
    given: dict[str, Any] = {"images": 3, "groups": 1, "pixels": 30, "bytes": 100, "sha256": f"{number:064}"}
    return Shard(**{"file": f"set-{number:05}.bbc", **given, "first": first, "last": last, **others})


SHARDS = (
    shard(0, "a.png", "b/z.png", models=(ONE,), carried=(OTHER,)),
    shard(1, "b.png", "c.png"),
    shard(3, "c.tif", "ü\U0001f600.png", models=(ONE, OTHER)),
)
MANIFEST = Manifest(
    "set",
    SHARDS,
    [Unread("bad.png", "is empty"), Unread("", "in/x: cannot be read")],
    {ONE: "tiny", OTHER: "other"},
    {"effort": 5, "k": None},
)


def encoded(lines: list[Any]) -> bytes:
    """Lines with their checksum, written as the manifest is."""
    body = b"".join(module.json_line(line) for line in lines)
    return body + module.json_line({"sha256": hashlib.sha256(body).hexdigest()})


def lines_of(manifest: Manifest = MANIFEST) -> list[Any]:
    return [json.loads(line) for line in manifest.encode().splitlines()[:-1]]


def test_what_is_written_is_read() -> None:
    data = MANIFEST.encode()
    assert data.startswith(module.START)
    found = Manifest.decode(data)
    assert (found.name, tuple(found.shards), found.unread) == ("set", SHARDS, MANIFEST.unread)
    assert (found.models, found.settings, found.image_count) == (MANIFEST.models, MANIFEST.settings, 9)
    assert len(data.splitlines()) == 1 + len(SHARDS) + 2 + 1  # no line is of an image


def test_names_are_ordered_with_folders_behind_files() -> None:
    assert sorted(["a.png", "a/b", "a", "a!b"], key=name_key) == ["a", "a/b", "a!b", "a.png"]


def test_each_byte_is_checked() -> None:
    data = MANIFEST.encode()
    for place in range(len(data)):
        for changed in (data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :], data[:place]):
            with pytest.raises(FormatError):
                Manifest.decode(changed)


def changed(**of_head: Any) -> bytes:
    head, *others = lines_of()
    return encoded([{**head, **of_head}, *others])


def with_shards(*shards: Shard) -> bytes:
    return encoded(lines_of(replace(MANIFEST, shards=shards)))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (changed(version=2), "version 2"),
        (changed(format="other"), "not a manifest"),
        (changed(shards=4), "is not as it must be"),
        (changed(shards=True), "number of shards"),
        (changed(shards=2), "not as it must be"),
        (changed(unread=1), "more or fewer lines"),
        (changed(images=10), "the one way"),
        (changed(more=1), "the one way"),
        (changed(name="../set"), "a name that is not allowed"),
        (changed(name=["set"]), "a name that is not allowed|another file"),
        (changed(models={ONE: "tiny"}), "models"),
        (changed(models={ONE: "tiny", OTHER: "other", "3" * 64: "unused"}), "other models"),
        (changed(settings={"k": None, "effort": 5}), "the one way"),
        (changed(settings=1), "no models or settings"),
        (with_shards(replace(SHARDS[0], file="../set-00000.bbc"), *SHARDS[1:]), "cannot be one"),
        (with_shards(replace(SHARDS[0], file="other-00000.bbc"), *SHARDS[1:]), "another file"),
        (with_shards(SHARDS[0], replace(SHARDS[1], file=SHARDS[0].file), SHARDS[2]), "twice"),
        (with_shards(SHARDS[1], SHARDS[0], SHARDS[2]), "another order"),
        (with_shards(SHARDS[0], replace(SHARDS[1], first="b/z.png"), SHARDS[2]), "another order"),
        (with_shards(SHARDS[0], replace(SHARDS[1], first="b/z.png/x", last="b/z.png/y"), SHARDS[2]), "another order"),
        (with_shards(SHARDS[0], replace(SHARDS[1], first="c.png", last="b.png"), SHARDS[2]), "another order"),
        (with_shards(SHARDS[0], replace(SHARDS[1], first="../x"), SHARDS[2]), "a name of an image"),
        (with_shards(replace(SHARDS[0], images=0), *SHARDS[1:]), "numbers"),
        (with_shards(replace(SHARDS[0], groups=4), *SHARDS[1:]), "numbers"),
        (with_shards(replace(SHARDS[0], images=1 << 32, groups=1), *SHARDS[1:]), "numbers"),
        (with_shards(replace(SHARDS[0], bytes=1.0), *SHARDS[1:]), "numbers"),  # type: ignore[arg-type]
        (with_shards(replace(SHARDS[0], sha256="0" * 63), *SHARDS[1:]), "checksum"),
        (with_shards(*SHARDS[:2], replace(SHARDS[2], models=(OTHER, ONE))), "models"),
        (encoded([*lines_of(), {"name": "more", "reason": "no"}]), "more or fewer lines"),
        (encoded(["[" * 5000]), "not a manifest"),
        (b"[" * 100_000 + b"\n", "not a manifest"),
        (MANIFEST.encode().replace(b"\n", b" \n", 1), "checksum"),
        (b"", "cut short"),
    ],
)  # fmt: skip
def test_what_is_not_as_it_must_be_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(FormatError, match=reason):
        Manifest.decode(data)


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    data = MANIFEST.encode()
    for name, value in (("MAX_MANIFEST_BYTES", len(data) - 1), ("MAX_SHARDS", 2), ("MAX_UNREAD", 1),
                        ("MAX_LINE_BYTES", 50), ("MAX_MODELS", 1)):  # fmt: skip
        with monkeypatch.context() as patch, pytest.raises(FormatError):
            patch.setattr(module, name, value)
            Manifest.decode(data)
