"""What Windows cannot hold."""

from __future__ import annotations

import re

_WINDOWS_REFUSES = re.compile(r'[<>:"|?*\x00-\x1f]')
_WINDOWS_DEVICES = {
    *("CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"),
    *(f"{port}{digit}" for port in ("COM", "LPT") for digit in "0123456789¹²³"),
}


def windows_name(name: str) -> str:
    """The name, or one that Windows can hold: no character and no device name that it refuses."""
    parts = []
    for part in name.split("/"):
        part = _WINDOWS_REFUSES.sub("_", part)
        part = re.sub(r"[ .]$", "_", part)
        stem = part.partition(".")[0].rstrip(" ").upper()
        parts.append(f"_{part}" if stem in _WINDOWS_DEVICES else part)
    return "/".join(parts)
