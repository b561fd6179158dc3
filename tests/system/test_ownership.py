"""Whose a directory is: modes, owners and links on the way to it."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bbcompress.system.ownership import NotPrivateError, is_private_file, private_directory

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no owners and modes")

OTHER = 12345
"""A user that is neither root nor the one who runs the tests."""

needs_root = pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0, reason="only root can give files to another user"
)


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def other_user() -> Iterator[Path]:
    """Within the test this process is another user; gives a directory of that user."""
    home = Path(tempfile.mkdtemp())
    os.chown(home, OTHER, OTHER)
    os.seteuid(OTHER)
    yield home
    os.seteuid(0)
    shutil.rmtree(home)


def refused(path: Path, about: Path, why: str) -> None:
    """It is refused with a message about the directory, and nothing is made."""
    before = sorted(about.parent.rglob("*"))
    with pytest.raises(NotPrivateError) as error:
        private_directory(path)
    assert str(error.value) == f"{about} {why}"
    assert sorted(about.parent.rglob("*")) == before


@pytest.mark.usefixtures("open_umask")
def test_what_is_missing_is_made_for_this_user_alone(tmp_path: Path) -> None:
    made = private_directory(tmp_path / "a" / "b")
    assert made == tmp_path.resolve() / "a" / "b"
    assert [path.stat().st_mode & 0o7777 for path in (made.parent, made)] == [0o700, 0o700]
    assert private_directory(tmp_path / "a" / "b") == made  # what is there is taken


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_directory_that_others_can_write(mode: int, tmp_path: Path) -> None:
    place = tmp_path / "place"
    (place / "below").mkdir(parents=True)
    place.chmod(mode)
    for path in (place, place / "below", place / "new" / "below"):
        refused(path, place, "can be written by other users")
    place.chmod(0o755)
    assert private_directory(place / "new") == tmp_path.resolve() / "place" / "new"


def test_a_sticky_directory_may_hold_one_but_not_be_one(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    refused(tmp_path, tmp_path, "can be written by other users")
    assert private_directory(tmp_path / "mine") == tmp_path.resolve() / "mine"


def test_links_are_followed_and_all_on_the_way_is_checked(tmp_path: Path) -> None:
    tmp_path = tmp_path.resolve()
    for name in ("good", "shared", "home"):
        (tmp_path / name / "cache").mkdir(parents=True)
    (tmp_path / "shared").chmod(0o777)
    (tmp_path / "home" / "to-good").symlink_to(tmp_path / "good")
    (tmp_path / "home" / "relative").symlink_to("../good/./cache")
    (tmp_path / "home" / "to-shared").symlink_to(tmp_path / "shared")
    (tmp_path / "shared" / "to-good").symlink_to(tmp_path / "good")
    (tmp_path / "home" / "nowhere").symlink_to(tmp_path / "missing")
    (tmp_path / "home" / "ring").symlink_to("ring")
    (tmp_path / "home" / "file").write_bytes(b"")
    home = tmp_path / "home"
    assert private_directory(home / "to-good" / "cache") == tmp_path / "good" / "cache"
    assert private_directory(home / "to-good" / "new") == tmp_path / "good" / "new"
    assert private_directory(home / "relative") == tmp_path / "good" / "cache"
    assert private_directory(home / "to-good" / ".." / "home") == home  # .. of where the link leads
    refused(home / "to-shared" / "cache", tmp_path / "shared", "can be written by other users")
    # The link leads to a good place now, but others can replace it.
    refused(tmp_path / "shared" / "to-good", tmp_path / "shared", "can be written by other users")
    for name in ("nowhere", "ring", "file"):
        with pytest.raises(OSError):
            private_directory(home / name)
    assert not (tmp_path / "missing").exists()


@needs_root
def test_a_directory_or_link_of_another_user(tmp_path: Path) -> None:
    tmp_path = tmp_path.resolve()
    place = tmp_path / "place"
    (place / "below").mkdir(parents=True)
    os.chown(place, OTHER, OTHER)
    for path in (place, place / "below", place / "new"):
        refused(path, place, "belongs to another user")
    link = tmp_path / "link"
    (tmp_path / "good").mkdir()
    link.symlink_to(tmp_path / "good")
    assert private_directory(link) == tmp_path / "good"
    os.lchown(link, OTHER, OTHER)
    refused(link, link, "is a link of another user")


@needs_root
def test_what_is_roots_is_safe_but_no_place_for_a_user(other_user: Path) -> None:
    assert private_directory(other_user / "cache") == other_user.resolve() / "cache"
    roots = Path("/etc")
    with pytest.raises(NotPrivateError, match="/etc belongs to another user"):
        private_directory(roots)


def test_files_of_this_user_alone(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    file.chmod(0o644)
    assert is_private_file(file.stat())
    for mode in (0o664, 0o646):
        file.chmod(mode)
        assert not is_private_file(file.stat())
    assert not is_private_file(tmp_path.stat())


@needs_root
def test_a_file_of_another_user(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    file.chmod(0o600)
    os.chown(file, OTHER, OTHER)
    assert not is_private_file(file.stat())
