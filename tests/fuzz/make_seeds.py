"""Write the inputs that fuzzing begins with: small files of every kind.

python tests/fuzz/make_seeds.py FOLDER
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS / "support"))

from damage_for_tests import DATA, FILES, grown  # noqa: E402
from models_for_tests import tiny_vae  # noqa: E402

from bbcompress.archive.manifest import MANIFEST, Manifest, Shard  # noqa: E402
from bbcompress.exact.distributions import LIKELIHOODS  # noqa: E402
from bbcompress.models.base import ModelWeights  # noqa: E402
from bbcompress.models.checkpoint import WEIGHTS_FILE, save  # noqa: E402

MAX_BYTES = 3000
MODES = {"BMP": "1 L P RGB RGBA", "GIF": "1 L P", "JPEG": "L RGB CMYK", "PPM": "1 L RGB", "WEBP": "RGB RGBA"}
MODES["TIFF"] = "1 L P RGB RGBA CMYK I;16"
COMPRESSIONS = ("raw", "tiff_lzw", "packbits", "tiff_adobe_deflate", "lzma", "zstd")
FAX = ("tiff_ccitt", "group3", "group4")
WAYS: dict[str, list[dict[str, Any]]] = {
    "JPEG": [
        {},
        {"progressive": True, "exif": b"Exif\0\0II*\0\0\0\0\0"},
        {"restart_marker_blocks": 1, "comment": b"seed"},
    ],
    "GIF": [{"interlace": 0}, {"interlace": 1, "comment": b"seed", "transparency": 1}],
    "WEBP": [{"lossless": True}, {"quality": 50, "xmp": b"<x/>", "exif": b"Exif\0\0II*\0\0\0\0\0"}],
    "TIFF": [
        *({"compression": name} for name in (*COMPRESSIONS, *FAX)),
        {"big_tiff": True},
        {"compression": "jpeg"},
    ],
}
"""Options that files of a format are written with; TIFF has some that only some modes can have."""


def saved(image: Image.Image, form: str, **ways: Any) -> bytes:
    """A file of Pillow's; empty where the format cannot hold the image in that way."""
    out = io.BytesIO()
    try:
        image.save(out, form, **ways)
    except (OSError, ValueError, RuntimeError, KeyError):
        return b""
    return out.getvalue()


def weights_of(model: ModelWeights) -> bytes:
    """The weights of a checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        save(model, Path(folder))
        return (Path(folder) / WEIGHTS_FILE).read_bytes()


def main() -> None:
    folder = Path(sys.argv[1])
    files = [*(make() for make in FILES.values()), *grown()]
    files += [path.read_bytes() for path in sorted((TESTS / "golden").rglob("*.bbc"))]
    images = [path.read_bytes() for path in sorted((DATA / "pngsuite").glob("*.png"))]
    picture = np.arange(7 * 9 * 3, dtype=np.uint8).reshape(7, 9, 3)
    for form, modes in MODES.items():
        for mode in modes.split():
            image = Image.fromarray(picture).convert("L" if mode == "I;16" else mode).convert(mode)
            images += [data for ways in WAYS.get(form, [{}]) if (data := saved(image, form, **ways))]
    first, second = Image.fromarray(picture), Image.fromarray(255 - picture).crop((1, 1, 5, 6))
    images += [saved(first, form, save_all=True, append_images=[second]) for form in ("GIF", "PNG", "TIFF")]
    images.append(saved(first, "WEBP", save_all=True, append_images=[Image.fromarray(255 - picture)], loop=2))
    frames = [first.convert("RGBA"), Image.new("RGBA", first.size, (1, 2, 3, 128))]
    images.append(saved(frames[0], "PNG", save_all=True, append_images=frames[1:], disposal=2, blend=1))
    for kind, samples in (("BLACKANDWHITE", 1), ("GRAYSCALE_ALPHA", 2), ("RGB", 3), ("RGB_ALPHA", 4)):
        most = 1 if kind == "BLACKANDWHITE" else 255
        start = b"P7\n# seed\nWIDTH 3\nHEIGHT 2\nDEPTH %d\nMAXVAL %d\nTUPLTYPE %b\nENDHDR\n"
        images.append(start % (samples, most, kind.encode()) + bytes(i % (most + 1) for i in range(6 * samples)))
    images += [b"P1 # seed\n3 2\n101 010\n", b"P2\n3 2 15\n1 2 3 4 5 15\n", b"P3\n1 2 65535\n1 2 3\n4 5 65535\n"]
    models = [weights_of(tiny_vae(likelihood, shape=(2, 3), hidden=2, latents=1)) for likelihood in LIKELIHOODS]
    manifests = [(TESTS / "golden" / "sharded" / MANIFEST).read_bytes()]
    manifests.append(Manifest("a", [Shard("a-00000.bbc", 1, 1, 1, 1, "0" * 64, "a", "a")], [], {}, {}).encode())
    kinds = {"container": files, "decode": files, "images": images, "manifest": manifests, "model": models}
    for name, seeds in kinds.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(seeds):
            if len(data) <= MAX_BYTES:
                (folder / name / f"seed-{number:03}").write_bytes(data)


if __name__ == "__main__":
    main()
