"""By what a file of bbc is known: its first bytes, its suffix, its type. Importing it costs nothing."""

MAGIC = b"\xbb\xc1"
"""The first bytes of every file; the low half of the second is the version of the format."""

PREFIX = MAGIC + b"\x01"
"""The first bytes of an archive, and of each of its segments."""

ADDING = MAGIC + b"\xfd"
"""The first bytes of a segment while it is added to an archive: `PREFIX` takes their place once all of it is on the
disk. So what is left of an addition that was broken off differs from what is left of a finished one."""

SUFFIX = ".bbc"
MIME = "image/x-bbc"
PILLOW_FORMAT = "BBC"
"""Pillow's name of the format."""
