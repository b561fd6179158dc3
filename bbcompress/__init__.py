"""bbc: lossless image compression with variational auto-encoders and bits-back coding.

    import bbcompress as bbc

    data = bbc.compress(image)                     # bytes; image: Pillow's, an array, or a PixelImage
    pixels = bbc.decompress(data)                  # an array
    with bbc.open("set.bbc") as archive:           # a mapping of names to images
        image = archive["cat.png"]
    bbc.pack(["photos", "cat.png"], "all.bbc")     # files and folders
    bbc.extract("all.bbc", "back")

After `bbc.register_pillow()`, or with `import bbcompress.pillow`, Pillow opens and saves .bbc files, too.

Names are looked up when they are used: importing this package alone imports neither numpy nor Pillow. Only
`ArchiveDataset` and `GroupBatchSampler` import PyTorch.
"""

from __future__ import annotations

from bbcompress.version import __version__ as __version__

TYPE_CHECKING = False  # that of `typing`, which is as slow as all else that `bbc` imports before it minds Ctrl-C
if TYPE_CHECKING:
    from typing import Any

    from bbcompress.api import compress, decompress, extract, pack
    from bbcompress.collection import Archive, add, open, write
    from bbcompress.errors import (
        BBCError,
        CallError,
        DataError,
        EmbeddedModelError,
        FormatError,
        ImageError,
        LargeModelError,
        LimitError,
        MissingFileError,
        MissingImageError,
        MissingModelError,
        ModelError,
        OutputExistsError,
        PreviewError,
        ReadOnlyError,
        RegionError,
        TrainingError,
    )
    from bbcompress.images.image import PixelImage, from_array
    from bbcompress.images.pillow import from_pillow, to_pillow
    from bbcompress.images.read import read_frames, read_image
    from bbcompress.integrations.pillow import register_pillow
    from bbcompress.integrations.torch_data import ArchiveDataset, GroupBatchSampler
    from bbcompress.pipeline.options import Options, Summary

__all__ = [
    "Archive",
    "ArchiveDataset",
    "BBCError",
    "CallError",
    "DataError",
    "EmbeddedModelError",
    "FormatError",
    "GroupBatchSampler",
    "ImageError",
    "LargeModelError",
    "LimitError",
    "MissingFileError",
    "MissingImageError",
    "MissingModelError",
    "ModelError",
    "Options",
    "OutputExistsError",
    "PixelImage",
    "PreviewError",
    "ReadOnlyError",
    "RegionError",
    "Summary",
    "TrainingError",
    "add",
    "compress",
    "decompress",
    "extract",
    "from_array",
    "from_pillow",
    "open",
    "pack",
    "read_frames",
    "read_image",
    "register_pillow",
    "to_pillow",
    "write",
]

_ERRORS = (
    "BBCError", "CallError", "DataError", "EmbeddedModelError", "FormatError", "ImageError", "LargeModelError",
    "LimitError", "MissingFileError", "MissingImageError", "MissingModelError", "ModelError", "OutputExistsError",
    "PreviewError", "ReadOnlyError", "RegionError", "TrainingError",
)  # fmt: skip
_PLACES = {
    **dict.fromkeys(_ERRORS, "errors"),
    **dict.fromkeys(("compress", "decompress", "extract", "pack"), "api"),
    **dict.fromkeys(("Options", "Summary"), "pipeline.options"),
    **dict.fromkeys(("Archive", "add", "open", "write"), "collection"),
    **dict.fromkeys(("PixelImage", "from_array"), "images.image"),
    **dict.fromkeys(("read_frames", "read_image"), "images.read"),
    **dict.fromkeys(("from_pillow", "to_pillow"), "images.pillow"),
    "register_pillow": "integrations.pillow",
    **dict.fromkeys(("ArchiveDataset", "GroupBatchSampler"), "integrations.torch_data"),
}
"""The module of each name that is not imported before it is used."""


def __getattr__(name: str) -> Any:
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    try:
        value = globals()[name] = getattr(import_module(f"{__name__}.{place}"), name)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        from bbcompress.errors import NEEDS_TORCH

        raise ModuleNotFoundError(f"{__name__}.{name} {NEEDS_TORCH}", name="torch") from error
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
