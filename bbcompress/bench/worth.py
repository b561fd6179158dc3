"""What a new model is worth: an archive of held-out images with it, without it, and the same by other formats."""

from __future__ import annotations

import io
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bbcompress.bench.peers import peers
from bbcompress.errors import BBCError
from bbcompress.images.image import PixelImage, from_array
from bbcompress.models.checkpoint import WEIGHTS_FILE
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.options import Options
from bbcompress.pipeline.sources import find_images
from bbcompress.training.datasets import Dataset

NumpyArray = np.ndarray[Any, Any]

NEW, SHIPPED = "this model", "the installed models"
PIXELS_A_SECOND = 8000
LEAST_PIXELS, MOST_PIXELS = 1 << 16, 1 << 21
KEPT_SUFFIXES = (".jpg", ".jpeg", ".jfif", ".gif")


@dataclass(frozen=True)
class Worth:
    """Bytes of a sample of held-out images.

    Attributes:
        images, held_out: how many were taken, of how many.
        pixels, all_pixels: of these, and of all images of the directory.
        sizes: bytes by what coded them; those of `NEW` and `SHIPPED` are whole archives, others the sum of files.
        model_bytes: what the model itself takes.
        kept: share of the directory's files that bbc keeps as they are, such as JPEG.
    """

    images: int
    held_out: int
    pixels: int
    all_pixels: int
    sizes: dict[str, int]
    model_bytes: int
    kept: float

    @property
    def best_other(self) -> str:
        """What takes the fewest bytes but for the new model."""
        return min((name for name in self.sizes if name != NEW), key=lambda name: self.sizes[name])

    @property
    def gain(self) -> float:
        """How many fewer bytes the new model takes than the best other, as a share; negative where it takes more."""
        return 1 - self.sizes[NEW] / self.sizes[self.best_other]

    @property
    def saved(self) -> float:
        """Bytes that the model saves of the whole directory, if all of it is as the sample is."""
        return self.gain * self.sizes[self.best_other] * self.all_pixels / self.pixels

    @property
    def is_worth_keeping(self) -> bool:
        """Whether it saves more than it takes."""
        return self.saved > self.model_bytes

    @property
    def verdict(self) -> str:
        """One plain sentence."""
        other = self.best_other
        if self.gain == 0:
            return f"The model is not worth keeping: {other} took as many bytes."
        if self.gain < 0:
            fewer = _per_cent(1 - self.sizes[other] / self.sizes[NEW])
            return f"The model is not worth keeping: {other} took {fewer} fewer bytes."
        if not self.is_worth_keeping:
            return (
                f"The model is hardly worth keeping: it saves {_per_cent(self.gain)}, about {_kilobytes(self.saved)} "
                f"of this folder, and takes {_kilobytes(self.model_bytes)} itself."
            )
        return (
            f"The model is worth keeping: it takes {_per_cent(self.gain)} fewer bytes than {other}, about "
            f"{_kilobytes(self.saved)} of this folder; the model itself takes {_kilobytes(self.model_bytes)}."
        )

    def command(self, folder: Path, run: Path) -> str:
        """The command line that makes an archive of the directory, with the model where that is worth it."""
        name = folder.resolve().name or "images"
        model = ["-m", str(run)] if self.gain > 0 else []
        return shlex.join(["bbc", "compress", str(folder), "-o", f"{name}.bbc", *model])

    def lines(self, folder: Path, run: Path) -> list[str]:
        """What is told of it."""
        what = f"{self.images} of {self.held_out} held-out images, {self.pixels / 1e6:.2f} megapixels"
        sizes = ", ".join(f"{name} {size}" for name, size in self.sizes.items())
        whose = "it" if self.gain > 0 else "the installed models"
        how = f"An archive of the folder by {whose}: {self.command(folder, run)}"
        found = [f"{what}, in bytes: {sizes}", self.verdict, how]
        if self.kept > 0.5:
            found.insert(
                2,
                f"{_per_cent(self.kept)} of the files are JPEG or GIF: bbc keeps such a file as it is where that "
                "is smaller, and then no model counts (--pixels codes the pixels).",
            )
        return found

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            **asdict(self),
            "best_other": self.best_other,
            "gain": round(self.gain, 5),
            "worth_keeping": self.is_worth_keeping,
        }


def measure_worth(run: Path, data: Dataset, folder: Path, seconds: float) -> Worth:
    """Compress a sample of held-out images as `bbc compress` would.

    Args:
        run: the model's folder.
        seconds: about how long that may take on a slow processor; the sample is the smaller for it.

    Raises:
        BBCError: an image cannot be coded.
    """
    budget = int(min(max(seconds * PIXELS_A_SECOND, LEAST_PIXELS), MOST_PIXELS))
    chosen = _sample(data.test, budget)
    images = [(f"{number:06}.png", _image(pixels, data.binary)) for number, pixels in enumerate(chosen)]
    sizes = {}
    for name, model in ((NEW, run), (SHIPPED, None)):
        file = io.BytesIO()
        Compressor(Options(model=model, verify=False, embed_model=False)).archive(images, file)
        sizes[name] = len(file.getvalue())
    for peer in peers():
        if peer.setting != "e9":  # minutes
            sizes[peer.coder] = sum(len(peer.encode(np.asarray(image))) for _, image in images)
    pixels = sum(image.width * image.height for _, image in images)
    total = sum(int(np.prod(image.shape[:2])) for part in (data.train, data.test) for image in part)
    return Worth(
        len(images), len(data.test), pixels, total, sizes, (run / WEIGHTS_FILE).stat().st_size, _kept_share(folder)
    )


def _sample(images: NumpyArray | Sequence[NumpyArray], budget: int) -> list[NumpyArray]:
    """The first images of so many pixels together; of the first one its middle where it alone has more."""
    chosen: list[NumpyArray] = []
    left = budget
    for image in images:
        height, width = image.shape[:2]
        if height * width > left:
            if not chosen:
                rows = max(1, budget // width)
                top = max(0, (height - rows) // 2)
                chosen.append(np.array(image[top : top + rows]))
            break
        chosen.append(np.array(image))
        left -= height * width
    return chosen


def _image(pixels: NumpyArray, binary: bool) -> PixelImage:
    return from_array(pixels * np.uint8(255) if binary else pixels)


def _kept_share(folder: Path) -> float:
    """The share of files of formats that are kept as they are where that is smaller."""
    try:
        names = [source.name.lower() for source in find_images([str(folder)])]
    except BBCError:
        return 0.0
    return sum(name.endswith(KEPT_SUFFIXES) for name in names) / max(1, len(names))


def _per_cent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _kilobytes(size: float) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 999_500 else f"{size / 1e3:.0f} kB"
