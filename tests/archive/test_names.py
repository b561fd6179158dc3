"""Names: what is allowed, how small lists become, duplicates."""

import pytest
from calls_for_tests import at_most
from cases_for_tests import one_test_of
from hypothesis import example, given
from hypothesis import strategies as st

from bbcompress.archive import names as module
from bbcompress.archive.names import (
    Budget,
    FolderFinder,
    NameFinder,
    NumberedNames,
    Run,
    decode_names,
    encode_names,
    find_duplicate,
    name_fault,
    name_key,
    span_of_names,
)
from bbcompress.errors import FormatError
from bbcompress.wire import ByteReader, pack, varint


def decode(data: bytes, count: int, budget: Budget | None = None) -> list[str] | None:
    reader = ByteReader(data, "the index")
    names = decode_names(reader, count, budget or Budget())
    reader.finish()
    return None if names is None else list(names)


some_names = st.one_of(
    st.text(min_size=1, max_size=20),
    st.from_regex(r"(a|b1|c/)?[0-9]{1,3}(x|\.png|1\.b)?", fullmatch=True),
    st.integers(0, 10**20).map(str),
).filter(lambda name: name_fault(name) is None)


@given(st.lists(some_names, min_size=1, max_size=40, unique=True))
@example([str(10**18 - 1), str(10**18)])
@example(["a\n1", "a\n2"])
@example(["٣1", "٣2"])
def test_round_trip(names: list[str]) -> None:
    assert decode(encode_names(names), len(names)) == names


@given(st.binary(max_size=60), st.integers(1, 20))
def test_any_bytes_give_allowed_names_or_an_error(data: bytes, count: int) -> None:
    for form in range(5):
        try:
            names = decode(bytes([form]) + data, count)
        except FormatError:
            continue
        assert names is None or (len(names) == count and not any(map(name_fault, names)))


def test_no_names() -> None:
    assert encode_names(None) == b"\0"
    assert decode(b"\0", 5) is None


def test_sizes() -> None:
    padded = [f"{n:04d}.png" for n in range(1000)]
    assert len(encode_names(padded)) <= 16
    assert decode(encode_names(padded), 1000) == padded
    unpadded = [f"test/digit-{n}.png" for n in range(1000)]
    assert len(encode_names(unpadded)) <= 26
    assert decode(encode_names(unpadded), 1000) == unpadded
    two_folders = [f"{folder}/{n:05d}.png" for folder in ("test", "train") for n in range(500)]
    assert len(encode_names(two_folders)) <= 40
    assert decode(encode_names(two_folders), 1000) == two_folders
    by_text = sorted(unpadded)
    assert len(encode_names(by_text)) <= 200
    assert decode(encode_names(by_text), 1000) == by_text


def test_known_bytes() -> None:
    assert encode_names(["a07.png", "a08.png", "a09.png", "a10.png"]) == b"\x01\x01a\x04.png\x02\x07\x04"
    assert encode_names(["cat", "cow"]) == b"\x02\x00\x03cat\x01\x02ow"


@one_test_of(
    "name",
    [
        "",
        "/a",
        "a//b",
        "a/",
        "..",
        "a/../b",
        ".",
        "./a",
        "a/.",
        "a\0b",
        "a\\b",
        "C:a",
        "c:/a",
        "\ud800",
        "é" * 2049,
    ],
)
def test_names_not_allowed(name: str) -> None:
    assert name_fault(name)
    data = name.encode("utf-8", "surrogatepass")
    for section in (
        b"\x02\x00" + varint(len(data)) + data,
        b"\x03" + varint(len(packed := pack(b"\x00" + varint(len(data)) + data))) + packed,
    ):
        with pytest.raises(FormatError):
            decode(section, 1)


def test_a_name_with_a_colon_is_no_absolute_path() -> None:
    assert name_fault("a:b.png") == "begins as a drive of Windows"
    assert name_fault("/b.png") == "is an absolute path"


@one_test_of("name", ["a", "a b.png", "...", "..a", "ab:c", "12:30.png", "é", "a\nb", "é" * 2048])
def test_names_allowed(name: str) -> None:
    assert name_fault(name) is None


def run_bytes(prefix: bytes, suffix: bytes, digits: int, first: int, count: int) -> bytes:
    text = varint(len(prefix)) + prefix + varint(len(suffix)) + suffix
    return b"\x01" + text + varint(digits) + varint(first) + varint(count)


@one_test_of(
    ("prefix", "suffix", "digits", "first", "count"),
    [
        (b"/", b"", 0, 0, 3),
        (b"../", b"", 0, 0, 3),
        (b"a\\", b"", 0, 0, 3),
        (b"", b"/", 0, 0, 3),
        (b"\xff", b"", 0, 0, 3),
        (b"a1", b"", 0, 0, 3),
        (b"a", b".jp2", 0, 0, 3),
        (b"a", b"", 1, 0, 3),
        (b"a", b"", 19, 0, 3),
        (b"a", b"", 0, 10**18 - 2, 3),
        (b"a", b"", 0, 10**18, 3),
        (b"a", b"", 0, 0, 0),
        (b"a", b"", 0, 0, 4),
        (b"a" * 4095, b"", 0, 9, 3),
    ],
)
def test_runs_not_allowed(prefix: bytes, suffix: bytes, digits: int, first: int, count: int) -> None:
    assert decode(run_bytes(b"a", b"", 0, 0, 3), 3) == ["a0", "a1", "a2"]
    with pytest.raises(FormatError):
        decode(run_bytes(prefix, suffix, digits, first, count), 3)


def test_unknown_form() -> None:
    with pytest.raises(FormatError):
        decode(b"\x04", 1)


def test_numbered_names_are_lazy() -> None:
    section = run_bytes(b"", b"", 0, 5, 1 << 40)
    with at_most(1000):
        names = decode_names(ByteReader(section), 1 << 40, Budget())
        assert names is not None
        assert (names[0], names[-1], names[1 << 30]) == ("5", str((1 << 40) + 4), str((1 << 30) + 5))
        assert find_duplicate([names]) is None
        assert find_duplicate([names, ("x", "7")]) == "7"
        assert find_duplicate([names, names]) is not None
    with pytest.raises(IndexError):
        names[1 << 40]
    assert names[1:3] == ("6", "7")


runs = st.builds(
    Run,
    st.sampled_from(["", "a", "a1b"]),
    st.sampled_from(["", "b"]),
    st.sampled_from([0, 2, 3]),
    st.integers(0, 120),
    st.integers(1, 30),
)
name_lists = st.one_of(
    st.lists(runs, min_size=1, max_size=3).map(NumberedNames),
    st.lists(st.from_regex("a?(1b)?[0-9]{0,3}b?", fullmatch=True), max_size=8),
)


@given(st.lists(name_lists, max_size=4))
@example([NumberedNames([Run("", "", 0, 5, 1), Run("", "", 2, 5, 1)])])  # 5 and 05
@example([NumberedNames([Run("", "", 0, 10, 1), Run("", "", 2, 10, 1)])])  # 10 twice
def test_find_duplicate(lists: list[list[str]]) -> None:
    everything = [name for names in lists for name in names]
    duplicate = find_duplicate(lists)
    if duplicate is None:
        assert len(set(everything)) == len(everything)
    else:
        assert everything.count(duplicate) > 1


def test_listed_names_have_a_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["cat", "cow", "dog"]
    section = encode_names(names)
    budget = Budget()
    budget.names = 5
    assert decode(section, 3, budget) == names
    with pytest.raises(FormatError, match="lists more than"):
        decode(section, 3, budget)
    budget = Budget()
    budget.name_bytes = 8
    with pytest.raises(FormatError, match="names of more than"):
        decode(section, 3, budget)
    monkeypatch.setattr(module, "MAX_LISTED", 2)
    with pytest.raises(FormatError):
        encode_names(names)


def test_packed_names_are_no_bomb() -> None:
    packed = pack(bytes(50_000_000))
    with pytest.raises(FormatError, match="more than"):
        decode(b"\x03" + varint(len(packed)) + packed, 10)


@given(st.lists(some_names, min_size=1, max_size=40, unique=True), st.integers(0, 40))
def test_names_are_found(names: list[str], split: int) -> None:
    parts = [names[:split], names[split:]]
    coded = [decode_names(ByteReader(encode_names(part), "names"), len(part), Budget()) for part in parts if part]
    starts = [0, len(parts[0])] if parts[0] else [0]
    finder = NameFinder((start, part) for start, part in zip(starts, coded, strict=False) if part is not None)
    for position, name in enumerate(names):
        assert finder.find(name) == position
    for name in ("", "0", "x", "00", *(f"{name}0" for name in names), *(f"0{name}" for name in names)):
        assert finder.find(name) == (names.index(name) if name in names else None)


def test_names_of_runs_are_not_listed() -> None:
    finder = NameFinder([(3, NumberedNames([Run("a", ".png", 0, 5, 1 << 40), Run("a", ".png", 2, 0, 5)]))])
    assert finder.find(f"a{5 + (1 << 39)}.png") == 3 + (1 << 39)
    assert finder.find("a04.png") == 3 + (1 << 40) + 4
    assert finder.find("a05.png") is None


folder_names = st.lists(
    st.one_of(st.sampled_from(["a", "b1", "7", "07", "8", "9", "10", "x2y", "a.png"]), st.integers(0, 12).map(str)),
    min_size=1,
    max_size=4,
).map("/".join)


@given(st.lists(folder_names, min_size=1, max_size=30, unique=True), st.integers(0, 30))
def test_what_is_in_folders_is_found(names: list[str], split: int) -> None:
    parts = [part for part in (names[:split], names[split:]) if part]
    coded = [decode_names(ByteReader(encode_names(part), "names"), len(part), Budget()) for part in parts]
    finder = FolderFinder(part for part in coded if part is not None)
    folders = {name[:place] for name in names for place, c in enumerate(name) if c == "/"}
    for folder in (*folders, *names, "a", "7", "1", "0", "b", "a/b", "a/7", "x2y/11", *(f"{name}0" for name in names)):
        found = finder.find(folder)
        assert (found is not None) == (folder in folders)
        assert found is None or (found in names and found.startswith(f"{folder}/"))


def test_folders_of_runs_are_not_listed() -> None:
    runs = [Run("a", "/b/c.png", 0, 5, 1 << 40), Run("a", "/b.png", 2, 0, 5), Run("d/e", "", 0, 0, 1 << 40)]
    finder = FolderFinder([NumberedNames(runs), NumberedNames([Run("a", "/b/z", 0, 1 << 39, 1 << 40)])])
    assert finder.find(f"a{5 + (1 << 39)}/b") in (f"a{5 + (1 << 39)}/b/c.png", f"a{5 + (1 << 39)}/b/z")
    assert finder.find(f"a{(3 << 39) - 1}") == f"a{(3 << 39) - 1}/b/z"
    assert finder.find("a04") == "a04/b.png"
    assert finder.find("d") == "d/e0"
    for folder in ("a05", "a4", f"a{3 << 39}", f"a{5 + (1 << 39)}/b/c.png", "d/e0", "a", "a07/b", "e"):
        assert finder.find(folder) is None


def test_the_least_and_the_greatest_name() -> None:
    """Of runs, whose numbers have more digits at the end than at the beginning, as of names that are listed."""
    runs = NumberedNames([Run("a/", "", 0, 8, 5), Run("a!", "x", 2, 98, 4), Run("a/9/", "", 0, 0, 2)])
    for lists in ([runs], [runs, ["a/1/0"]], [["b", "a"], runs], [["b", "a/"]]):
        every = sorted((name for names in lists for name in names), key=name_key)
        assert span_of_names(lists) == (every[0], every[-1])
