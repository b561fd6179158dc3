"""How far the fallback's probe is from the whole fallback: what `may_be_smaller` in codecs/fallback/probe.py rests on.

    python benchmarks/fallback_probe.py [--photos DIR] [--count N] [-o FILE.json]

Screenshots, line art, plots, dithering, pixel art, collages and the like are drawn here; photographs, in lossless
files, come from a directory. For each image: bytes of the whole fallback and what the probe found, seconds of both.
"margin_needed" may never be above PROBE_MARGIN, else the whole fallback is not tried for some model that it would beat;
that it is tried in vain costs only time. JPEG XL (effort 7) stands in for a model.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from machine import environment
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from bbcompress.codecs.fallback.items import encode_item
from bbcompress.codecs.fallback.probe import PROBE_MARGIN, SIMPLE_BITS, may_be_smaller, probe
from bbcompress.images.image import PixelImage, from_array
from bbcompress.images.read import read_image

Pixels = npt.NDArray[np.uint8]
WIDTH, HEIGHT = 768, 512
WORDS = (
    "the quick brown fox jumps over a lazy dog while 0123456789 sphinxes of black quartz judge my vow, (really); ok "
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="directory of photographs in lossless files")
    parser.add_argument("--count", type=int, default=40, help="photographs to take, spread over the directory")
    parser.add_argument("-o", "--out", type=Path, default=Path(__file__).parent / "results" / "fallback_probe.json")
    args = parser.parse_args()
    found = sorted(path for path in args.photos.iterdir() if path.suffix in (".webp", ".png")) if args.photos else []
    photos = found[:: max(1, len(found) // args.count)]
    rows = []
    for kind, name, image in drawings(photos):
        rows.append({"kind": kind, "name": name, **measure(image)})
        print(rows[-1], flush=True)
    for path in photos:
        rows.append({"kind": "photograph", "name": path.name, **measure(read_image(path))})
        print(rows[-1], flush=True)
    report = {
        "environment": environment(),
        "margin": PROBE_MARGIN,
        "simple_bits": SIMPLE_BITS,
        "summary": summarise(rows),
        "images": rows,
    }
    print(json.dumps(report["summary"], indent=1))
    args.out.write_text(json.dumps(report, indent=1) + "\n")


def measure(image: PixelImage) -> dict[str, Any]:
    """Sizes, shares and times of one image."""
    begin = time.perf_counter()
    whole = encode_item(image)
    whole_seconds = time.perf_counter() - begin
    begin = time.perf_counter()
    probed = probe(image)
    probe_seconds = time.perf_counter() - begin
    if probed is None:
        raise ValueError("WebP cannot hold this image")
    model = len(imagecodecs.jpegxl_encode(image.pixels, lossless=True, effort=7))
    bits = 8 * probed.size / probed.pixels
    return {
        "size": list(image.size),
        "fallback": len(whole),
        "codec": ("raw", "PNG", "WebP", "bands")[whole[0] - 1],
        "probe": round(probed.size),
        "probe_bits_per_pixel": round(bits, 3),
        "probe_to_fallback": round(probed.size / len(whole), 4),
        "repeated": round(probed.repeated, 4),
        "margin_needed": None if bits < SIMPLE_BITS else round(probed.size * (1 - probed.repeated) / len(whole), 4),
        "stand_in": model,
        "fallback_is_smaller": len(whole) < model,
        "tried": may_be_smaller(image, model),
        "tried_against_a_model_better_by": {
            f"{gain:.0%}": may_be_smaller(image, round(len(whole) * (1 - gain))) for gain in (0.05, 0.1, 0.15, 0.2)
        },
        "seconds": {"fallback": round(whole_seconds, 3), "probe": round(probe_seconds, 3)},
    }


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """For photographs and for all else: how often the fallback is smaller, tried, missed, tried in vain; the margin."""
    result: dict[str, Any] = {}
    for name, some in (
        ("photographs", [row for row in rows if row["kind"] == "photograph"]),
        ("others", [row for row in rows if row["kind"] != "photograph"]),
    ):
        margins = [row["margin_needed"] for row in some if row["margin_needed"] is not None]
        result[name] = {
            "images": len(some),
            "fallback_is_smaller_than_stand_in": sum(row["fallback_is_smaller"] for row in some),
            "missed": [row["name"] for row in some if row["fallback_is_smaller"] and not row["tried"]],
            "tried_in_vain": sum(row["tried"] and not row["fallback_is_smaller"] for row in some),
            "tried_in_vain_against_a_model_better_than_the_fallback_by": {
                gain: sum(row["tried_against_a_model_better_by"][gain] for row in some)
                for gain in ("5%", "10%", "15%", "20%")
            },
            "margin_needed": max(margins, default=None),
            "median_seconds": {
                what: statistics.median(row["seconds"][what] for row in some) for what in ("fallback", "probe") if some
            },
        }
    return result


def drawings(photos: list[Path]) -> Iterator[tuple[str, str, PixelImage]]:
    """Kind, name and image of everything that is drawn."""
    chance = np.random.default_rng(0)
    makers: list[Callable[[np.random.Generator], Image.Image]] = [
        text_page,
        small_text,
        coloured_text,
        windows,
        gradients,
        dithered_gradient,
        noisy_gradient,
        plot,
        scatter,
        line_art,
        thick_lines,
        pixel_art,
        large_pixel_art,
        checkerboards,
        ordered_dithering,
        random_bits,
        few_colours,
        tiles,
        fractal,
        blobs,
        rows_that_drift,
        stripes,
    ]
    for make in makers:
        for number in range(2):
            yield "drawing", f"{make.__name__} {number}", colour(make(chance))
    for number, path in enumerate(photos[:: max(1, len(photos) // 4)][:4]):
        photo = Image.fromarray(read_image(path).pixels).convert("RGB")
        for name, made in from_photo(photo, chance):
            yield "made of a photograph", f"{name} {number}", colour(made)


def colour(picture: Image.Image) -> PixelImage:
    return from_array(np.asarray(picture.convert("RGB")))


def blank(shade: int = 255) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    picture = Image.new("RGB", (WIDTH, HEIGHT), (shade, shade, shade))
    return picture, ImageDraw.Draw(picture)


def any_colour(chance: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in chance.integers(0, 256, 3))
    return red, green, blue


def sentence(chance: np.random.Generator, length: int) -> str:
    start = int(chance.integers(0, len(WORDS)))
    return (WORDS * (2 + length // len(WORDS)))[start : start + length]


def text_page(chance: np.random.Generator) -> Image.Image:
    picture, draw = blank()
    for y in range(8, HEIGHT - 16, 18):
        draw.text((10, y), sentence(chance, 95), fill=0, font=ImageFont.load_default(14))
    return picture


def small_text(chance: np.random.Generator) -> Image.Image:
    """The bitmap font, light on dark."""
    picture, draw = blank(30)
    for y in range(4, HEIGHT - 12, 11):
        draw.text((4, y), sentence(chance, 125), fill=any_colour(chance), font=ImageFont.load_default_imagefont())
    return picture


def coloured_text(chance: np.random.Generator) -> Image.Image:
    picture, draw = blank()
    for y in range(8, HEIGHT - 40, 40):
        draw.rectangle((0, y, WIDTH, y + 39), fill=any_colour(chance))
        size = int(chance.integers(10, 36))
        draw.text((10, y), sentence(chance, 60), fill=any_colour(chance), font=ImageFont.load_default(size))
    return picture


def windows(chance: np.random.Generator) -> Image.Image:
    picture, draw = blank(90)
    for _ in range(9):
        x, y = int(chance.integers(-50, WIDTH - 100)), int(chance.integers(-50, HEIGHT - 80))
        box = (x, y, x + int(chance.integers(120, 400)), y + int(chance.integers(90, 300)))
        draw.rounded_rectangle(box, 9, fill=any_colour(chance), outline=(20, 20, 20))
        for line in range(box[1] + 8, box[3] - 14, 16):
            draw.text((x + 8, line), sentence(chance, (box[2] - x) // 9), fill=any_colour(chance))
    return picture


def ramps(chance: np.random.Generator) -> npt.NDArray[np.float64]:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    planes = [x * chance.uniform(-0.2, 0.3) + y * chance.uniform(-0.2, 0.3) + chance.uniform(0, 200) for _ in range(3)]
    return np.stack(planes, axis=2)


def gradients(chance: np.random.Generator) -> Image.Image:
    return Image.fromarray(ramps(chance).clip(0, 255).astype(np.uint8))


def dithered_gradient(chance: np.random.Generator) -> Image.Image:
    """Rounded up or down by chance, as drawing programs do against banding."""
    values = ramps(chance) + chance.uniform(0, 1, (HEIGHT, WIDTH, 1))
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def noisy_gradient(chance: np.random.Generator) -> Image.Image:
    return Image.fromarray((ramps(chance) + chance.normal(0, 2, (HEIGHT, WIDTH, 3))).clip(0, 255).astype(np.uint8))


def plot(chance: np.random.Generator) -> Image.Image:
    """Antialiased curves, axes, a grid."""
    picture = Image.new("RGB", (4 * WIDTH, 4 * HEIGHT), (255, 255, 255))
    draw = ImageDraw.Draw(picture)
    for x in range(200, 4 * WIDTH, 320):
        draw.line((x, 0, x, 4 * HEIGHT), fill=(220, 220, 220), width=4)
    for _ in range(6):
        walk = 4 * HEIGHT / 2 + np.cumsum(chance.normal(0, 30, WIDTH // 4))
        draw.line([(16 * i, float(y)) for i, y in enumerate(walk)], fill=any_colour(chance), width=8)
    return picture.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def scatter(chance: np.random.Generator) -> Image.Image:
    picture, draw = blank()
    for _ in range(4000):
        x, y = chance.normal(WIDTH / 2, 120), chance.normal(HEIGHT / 2, 90)
        draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=any_colour(chance), outline=0)
    return picture


def line_art(chance: np.random.Generator) -> Image.Image:
    picture, draw = blank()
    for _ in range(300):
        x, y, a, b = (float(value) for value in chance.uniform(0, WIDTH, 4))
        draw.arc((min(x, a), min(y, b), max(x, a) + 1, max(y, b) + 1), int(x) % 360, int(y) % 360, fill=0)
    return picture


def thick_lines(chance: np.random.Generator) -> Image.Image:
    picture = Image.new("RGB", (3 * WIDTH, 3 * HEIGHT), (250, 246, 230))
    draw = ImageDraw.Draw(picture)
    for _ in range(60):
        draw.line(
            [(float(x), float(y)) for x, y in chance.uniform(0, 3 * WIDTH, (3, 2))], fill=any_colour(chance), width=20
        )
    return picture.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)


def pixel_art(chance: np.random.Generator) -> Image.Image:
    """A few colours, each pixel by itself, in sprites that come again."""
    palette = chance.integers(0, 256, (16, 3))
    sprites = palette[chance.integers(0, 16, (12, 16, 16)) * (chance.random((12, 16, 16)) < 0.5)]
    grid = sprites[chance.integers(0, 12, (HEIGHT // 16, WIDTH // 16))]
    return Image.fromarray(grid.swapaxes(1, 2).reshape(HEIGHT, WIDTH, 3).astype(np.uint8))


def large_pixel_art(chance: np.random.Generator) -> Image.Image:
    small = chance.integers(0, 256, (64, 96, 3)).astype(np.uint8)
    return Image.fromarray(small).resize((WIDTH, HEIGHT), Image.Resampling.NEAREST)


def checkerboards(chance: np.random.Generator) -> Image.Image:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    side = int(chance.integers(1, 9))
    colours = np.array([any_colour(chance), any_colour(chance)], np.uint8)
    return Image.fromarray(colours[(x // side + y // side) % 2])


def ordered_dithering(chance: np.random.Generator) -> Image.Image:
    """A gradient in eight colours by a 4x4 Bayer matrix: hardly a pixel is as its neighbours."""
    bayer = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]) * 16 + 8
    limits = np.tile(bayer, (HEIGHT // 4, WIDTH // 4))
    return Image.fromarray(((ramps(chance) > limits[:, :, None]) * 255).astype(np.uint8))


def random_bits(chance: np.random.Generator) -> Image.Image:
    return Image.fromarray((chance.integers(0, 2, (HEIGHT, WIDTH)) * 255).astype(np.uint8))


def few_colours(chance: np.random.Generator) -> Image.Image:
    """Noise of some colours."""
    return Image.fromarray(chance.integers(0, 256, (200, 3)).astype(np.uint8)[chance.integers(0, 200, (HEIGHT, WIDTH))])


def tiles(chance: np.random.Generator) -> Image.Image:
    """A noisy texture that comes again and again."""
    side = int(chance.integers(40, 160))
    tile = chance.integers(0, 256, (side, side, 3)).astype(np.uint8)
    return Image.fromarray(np.tile(tile, (HEIGHT // side + 1, WIDTH // side + 1, 1))[:HEIGHT, :WIDTH])


def fractal(chance: np.random.Generator) -> Image.Image:
    y, x = np.mgrid[-1.2 : 1.2 : HEIGHT * 1j, -2.2 : 1.0 : WIDTH * 1j]
    c = (x + 1j * y) * chance.uniform(0.6, 1)
    z = np.zeros_like(c)
    count = np.zeros(c.shape, np.int64)
    for _ in range(60):
        alive = np.abs(z) < 4
        z[alive] = z[alive] ** 2 + c[alive]
        count += alive
    return Image.fromarray(chance.integers(0, 256, (61, 3)).astype(np.uint8)[count])


def blobs(chance: np.random.Generator) -> Image.Image:
    """Smooth shading without noise, as renderers give."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    values = np.zeros((HEIGHT, WIDTH, 3))
    for _ in range(12):
        a, b, size = chance.uniform(0, WIDTH), chance.uniform(0, HEIGHT), chance.uniform(30, 150)
        values += np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * size**2))[:, :, None] * chance.uniform(0, 160, 3)
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def rows_that_drift(chance: np.random.Generator) -> Image.Image:
    """Noise, each row the one above and a little more: all that a PNG needs is the filter for it."""
    row = chance.integers(0, 256, (1, WIDTH, 3))
    return Image.fromarray(((row + 3 * np.arange(HEIGHT)[:, None, None]) % 256).astype(np.uint8))


def stripes(chance: np.random.Generator) -> Image.Image:
    """Noise in one direction."""
    return Image.fromarray(np.repeat(chance.integers(0, 256, (HEIGHT, 1, 3)).astype(np.uint8), WIDTH, axis=1))


def from_photo(photo: Image.Image, chance: np.random.Generator) -> Iterator[tuple[str, Image.Image]]:
    """What people make of photographs that makes them easy for the fallback, or nearly."""
    width, height = photo.size
    for colours in (16, 256):
        yield f"{colours} colours", photo.quantize(colours)
        yield f"{colours} colours, not dithered", photo.quantize(colours, dither=Image.Dither.NONE)
    yield "two levels", photo.convert("1")
    yield "posterised", Image.fromarray(np.asarray(photo) & 0xE0)
    quarter = photo.crop((0, 0, width // 2, height // 2))
    yield "in double size", quarter.resize((width, height), Image.Resampling.NEAREST)
    yield (
        "in 1.5-fold size",
        photo.crop((0, 0, width * 2 // 3, height * 2 // 3)).resize((width, height), Image.Resampling.NEAREST),
    )
    yield "in double size, smooth", quarter.resize((width, height))
    yield "blurred", photo.filter(ImageFilter.GaussianBlur(4))
    yield "grey", photo.convert("L")
    for share in (0.1, 0.3, 0.6, 0.9, 0.97):
        page = text_page(chance).resize((width, height), Image.Resampling.NEAREST)
        page.paste(photo.crop((0, 0, width, int(height * share))))
        yield f"{share:.0%} of a page", page
    for count in (2, 4, 8):
        strip = np.asarray(photo)[: height // count]
        yield f"{count} times", Image.fromarray(np.concatenate([strip] * count))
    strip = np.asarray(photo)[: height * 2 // 3]
    yield "once and a half", Image.fromarray(np.concatenate([strip, strip[: height // 3]]))
    mirrored = np.asarray(photo)[:, : width // 2]
    yield "mirrored", Image.fromarray(np.concatenate([mirrored, mirrored[:, ::-1]], axis=1))
    captioned = photo.copy()
    draw = ImageDraw.Draw(captioned)
    for y in range(10, height - 30, 60):
        draw.text((10, y), sentence(chance, 40), fill=(255, 255, 0), font=ImageFont.load_default(24))
    yield "captioned", captioned
    framed = Image.new("RGB", (width + width // 2, height + height // 2), (255, 255, 255))
    framed.paste(photo, (width // 4, height // 4))
    yield "framed", framed


if __name__ == "__main__":
    main()
