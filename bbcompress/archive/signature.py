"""By what a file of bbc is known: its first bytes, its suffix, its type. Importing it costs nothing."""

MAGIC = b"\xbb\xc1"
"""The first bytes of every file; the low half of the second is the version of the format."""

PREFIX = MAGIC + b"\x01"
"""The first bytes of an archive, and of each of its segments."""

SUFFIX = ".bbc"
MIME = "image/x-bbc"
PILLOW_FORMAT = "BBC"
"""Pillow's name of the format."""
