"""What desktops of Linux need to know of files of bbc: their type, what makes thumbnails, what opens them.

The rules are freedesktop.org's: shared MIME-info database, desktop entries, and the thumbnailer entries that GNOME,
Xfce, MATE and Cinnamon read.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from bbcompress.archive.signature import MAGIC, MIME, SUFFIX
from bbcompress.errors import BBCError
from bbcompress.system.output import write_file

NAME = "bbcompress"
TYPES, THUMBNAILER, APPLICATION = (
    f"mime/packages/{NAME}.xml",
    f"thumbnailers/{NAME}.thumbnailer",
    f"applications/{NAME}.desktop",
)
"""The files, in the user's data folder."""

UPDATES = (
    ("update-mime-database", "mime", "shared-mime-info"),
    ("update-desktop-database", "applications", "desktop-file-utils"),
)
"""Programs that read them into databases, the folders of which they are told, and Debian's packages of these."""

_RESERVED = re.compile(r"[^A-Za-z0-9_@%+=:,./-]")
_SECONDS = 60


def data_folder(environment: Mapping[str, str]) -> Path:
    """The user's folder of data, by the rules of XDG: a relative path does not count.

    Raises:
        BBCError: this system has no such desktops.
    """
    if sys.platform in ("win32", "cygwin", "darwin"):
        raise BBCError("bbc desktop is for desktops of Linux; this system has others")
    named = Path(environment.get("XDG_DATA_HOME") or "")
    return named if named.is_absolute() else Path.home() / ".local" / "share"


def command() -> list[str]:
    """What runs bbc as it is installed here, wherever it is called from."""
    beside = Path(sys.executable).with_name("bbc")
    return [str(beside)] if os.access(beside, os.X_OK) else [sys.executable, "-m", "bbcompress"]


def entries(program: list[str]) -> dict[str, str]:
    """The text of each file.

    Args:
        program: what runs bbc.
    """
    magic = "".join(f"\\x{byte:02x}" for byte in MAGIC)
    executable = program[0].replace("\\", "\\\\")
    thumbnail = f"{_quoted(program)} thumbnail --force --quiet --size %s --output %o %i"
    return {
        TYPES: f"""<?xml version="1.0" encoding="UTF-8"?>
<mime-info xmlns="http://www.freedesktop.org/standards/shared-mime-info">
  <mime-type type="{MIME}">
    <comment>bbc image</comment>
    <generic-icon name="image-x-generic"/>
    <glob pattern="*{SUFFIX}"/>
    <magic priority="30">
      <match type="string" offset="0" value="{magic}"/>
    </magic>
  </mime-type>
</mime-info>
""",
        THUMBNAILER: f"""[Thumbnailer Entry]
TryExec={executable}
Exec={thumbnail}
MimeType={MIME};
""",
        APPLICATION: f"""[Desktop Entry]
Type=Application
Name=bbc
Comment=Bring the images of files back, beside them
TryExec={executable}
Exec={_quoted(program)} decompress %F
MimeType={MIME};
NoDisplay=true
Terminal=true
Categories=Graphics;
""",
    }


def install(folder: Path) -> list[str]:
    """Write the files into a folder of data, and have them read; what the user should know, a line each.

    Raises:
        BBCError: a file cannot be written.
    """
    program = command()
    for name, text in entries(program).items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BBCError(f"{path.parent}: cannot be made: {error.strerror or error}") from None
        write_file(path, text.encode(), force=True)
    notes = _update(folder)
    if not program[0].startswith("/usr/"):
        notes.append(f"GNOME makes thumbnails in a sandbox that sees nothing outside of /usr, and not {program[0]}")
    return notes


def uninstall(folder: Path) -> tuple[list[Path], list[str]]:
    """Delete the files, as far as they are there; which ones, and what the user should know.

    Raises:
        BBCError: a file cannot be deleted.
    """
    gone = []
    for name in (TYPES, THUMBNAILER, APPLICATION):
        path = folder / name
        try:
            path.unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise BBCError(f"{path}: cannot be deleted: {error.strerror or error}") from None
        gone.append(path)
    return gone, _update(folder) if gone else []


def _update(folder: Path) -> list[str]:
    """Have the databases of a folder made anew, as far as there are programs for it; notes on what was not done."""
    notes = []
    for program, inside, package in UPDATES:
        found = shutil.which(program)
        if found is None:
            notes.append(f"{program} is not installed (it is in the package {package}): log in anew for all to be seen")
            continue
        try:
            ran = subprocess.run(
                [found, str(folder / inside)], capture_output=True, text=True, timeout=_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            notes.append(f"{program} does not run: {error}")
            continue
        if ran.returncode:
            said = (ran.stderr or ran.stdout).strip().partition("\n")[0]
            notes.append(f"{program} fails: {said}")
    return notes


def _quoted(program: list[str]) -> str:
    """Words of a command as the key Exec has them."""
    words = []
    for word in program:
        word = word.replace("%", "%%")
        if _RESERVED.search(word):
            word = '"' + re.sub(r'(["`$\\])', r"\\\1", word) + '"'
        words.append(word)
    return " ".join(words).replace("\\", "\\\\")
