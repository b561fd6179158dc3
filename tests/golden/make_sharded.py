"""Write sharded/, a sharded archive of version 1 of the format that every later version has to read.

    python tests/golden/make_sharded.py

Its images are one that the frozen tiny local model has drawn, and its shards carry that model. What is there is kept,
for it is the promise: to make it anew, before the format's first release, remove the folder.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from bbcompress.pipeline.options import Options
from bbcompress.pipeline.sharding.engine import InProcess
from bbcompress.pipeline.sharding.run import ShardedPacking
from bbcompress.pipeline.sharding.shard import Loading

FOLDER = Path(__file__).resolve().parent / "sharded"
DATA = Path(__file__).resolve().parents[1] / "data"

IMAGE = DATA / "local" / "small.png"
NAMES = "a.png", "b/ä \N{EM DASH}.png", "b!.png"
"""Of its copies, in the order of the shards."""

UNREAD = "b/no image.png", "is not an image of a known format"
"""A file that is in no shard, and why."""

SHARD_PIXELS = 2 * 5 * 3
MODIFIED = 10**9
"""When all files were modified, in seconds since 1970."""


def write(folder: Path) -> None:
    """Make the archive in a folder that is not there, whose name is that of the shards."""
    with tempfile.TemporaryDirectory() as source:
        for name in NAMES:
            path = Path(source, name)
            path.parent.mkdir(exist_ok=True)
            shutil.copyfile(IMAGE, path)
            os.utime(path, (MODIFIED, MODIFIED))
        Path(source, UNREAD[0]).write_bytes(b"junk")
        options = Options(model=DATA / "models" / "tiny-local", effort=1, embed_model=True)
        ShardedPacking([source], str(folder), options, Loading(), SHARD_PIXELS).write(InProcess(), lambda _: None)


if __name__ == "__main__":
    if not FOLDER.exists():
        write(FOLDER)
