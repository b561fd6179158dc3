"""One process of test_threads.py: prints the processor seconds of coding an image of one block, and of decoding it.

python threads_worker.py STEPS
"""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path

from bbcompress.images.image import from_array
from bbcompress.images.read import read_image
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.options import Options
from bbcompress.pipeline.reader import Reader


def main() -> None:
    compressor = Compressor(Options(k=int(sys.argv[1]), verify=False))
    image = read_image(Path(__file__).parents[1] / "data" / "photos" / "landscape.png")
    compressor.lone(from_array(image.pixels[:8, :8]))  # compiled, and loaded
    image = from_array(image.pixels[:120])
    start = time.process_time()
    data, summary = compressor.lone(image)
    middle = time.process_time()
    Reader(io.BytesIO(data)).read(0)
    print(middle - start, time.process_time() - middle, *summary.coders)


if __name__ == "__main__":
    main()
