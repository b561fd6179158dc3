"""Whole files of one image by bbc and by others, with the processor seconds they take; all are read back."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from bbcompress.bench.peers import Peer
from bbcompress.images.image import PixelImage
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.reader import Reader


def measure(
    name: str, image: PixelImage, compressor: Compressor, others: Iterable[Peer]
) -> tuple[dict[str, Any], Reader]:
    """`bytes` by coder, and `seconds` to write and to read; and a reader of bbc's file.

    Raises:
        SystemExit: an image does not come back.
    """

    def by_peer(peer: Peer, data: bytes) -> bool:
        return np.array_equal(peer.decode(data), image.pixels)

    def by_bbc(data: bytes) -> bool:
        return Reader(io.BytesIO(data)).read(0) == image

    coders: list[tuple[str, Callable[[], bytes], Callable[[bytes], bool]]]
    coders = [("bbc", lambda: compressor.lone(image)[0], by_bbc)]
    coders += [(peer.label, partial(peer.encode, image.pixels), partial(by_peer, peer)) for peer in others]
    files, seconds = {}, {}
    for coder, encode, comes_back in coders:
        start = time.process_time()
        files[coder] = encode()
        middle = time.process_time()
        if not comes_back(files[coder]):
            raise SystemExit(f"{coder} does not bring {name} back")
        seconds[coder] = [round(middle - start, 2), round(time.process_time() - middle, 2)]
    sizes = {coder: len(data) for coder, data in files.items()}
    return {"bytes": sizes, "seconds": seconds}, Reader(io.BytesIO(files["bbc"]))
