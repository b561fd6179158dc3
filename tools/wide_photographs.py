"""Training pictures from full-size photographs, at other scales, in other colours and with noise.

    python tools/wide_photographs.py FOLDER OUT [--seed N]

Photographs of the web and of cameras are mostly JPEGs of many pixels. Each of FOLDER gives to OUT, as PNG:

* `b_NAME`: a square of 640 pixels of the photograph made 1.3 to 2.2 times smaller, by one of three filters;
* `c_NAME`: one of 512 pixels of it made 2 to 4.5 times smaller, turned, with another exposure, white balance,
  saturation and contrast, and three times in five with noise: of single sub-pixels, spread over neighbours as of film
  or of a sensor's colour filters, or shared by the channels;
* `d_NAME`, of every second one: a square of 448 pixels at full size, with what JPEG left in it.

The model `photo` was trained on such pictures beside photographs that were made smaller alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Pixels = np.ndarray[Any, np.dtype[Any]]
LEAST_SIDE = 128
FILTERS = Image.Resampling.LANCZOS, Image.Resampling.BICUBIC, Image.Resampling.BOX
GAMMA = 2.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(args.seed)
    for number, path in enumerate(sorted(args.folder.iterdir())):
        try:
            with Image.open(path) as opened:
                photograph = opened.convert("RGB")
        except OSError as error:
            raise SystemExit(f"{path}: cannot be read as an image ({error})") from None
        pictures = {"b": smaller(photograph, generator), "c": changed(photograph, generator)}
        if number % 2 == 0:
            pictures["d"] = square_of(np.asarray(photograph), 448, generator)
        for kind, pixels in pictures.items():
            if min(pixels.shape[:2]) >= LEAST_SIDE:
                Image.fromarray(pixels).save(args.out / f"{kind}_{path.stem}.png")


def smaller(photograph: Image.Image, generator: np.random.Generator) -> Pixels:
    """A square of the photograph 1.3 to 2.2 times smaller."""
    scale = generator.uniform(1.3, 2.2)
    return square_of(resized(photograph, scale, FILTERS[generator.integers(3)]), 640, generator)


def changed(photograph: Image.Image, generator: np.random.Generator) -> Pixels:
    """A square of it 2 to 4.5 times smaller, turned, in other colours, perhaps with noise."""
    scale = generator.uniform(2, 4.5)
    pixels = resized(photograph, scale, FILTERS[generator.integers(2)]).astype(float)
    light = (np.rot90(square_of(pixels, 512, generator), int(generator.integers(4))) / 255) ** GAMMA
    light = light * np.exp(generator.normal(0, 0.35) + generator.normal(0, 0.12, 3))
    saturation = generator.uniform(0.6, 1.3)
    grey = light.mean(2, keepdims=True)
    light = np.clip(grey + (light - grey) * saturation, 0, 1) ** np.exp(generator.normal(0, 0.15))
    levels = light ** (1 / GAMMA) * 255
    if generator.random() < 0.6:
        levels = levels + noise_of(levels, generator)
    found: Pixels = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    return found


def noise_of(levels: Pixels, generator: np.random.Generator) -> Pixels:
    """Noise that grows with the levels, of a deviation between 0.5 and 5 levels at about the middle."""
    deviation = np.exp(generator.uniform(np.log(0.5), np.log(5)))
    noise = np.asarray(generator.normal(0, 1, levels.shape))
    if generator.random() < 0.5:
        noise = (noise + np.roll(noise, 1, 0) + np.roll(noise, 1, 1) + np.roll(noise, (1, 1), (0, 1))) / 2
    if generator.random() < 0.3:
        noise = noise * 0.5 + noise.mean(2, keepdims=True) * 1.5
    found: Pixels = deviation * noise * np.sqrt(0.3 + levels / 255)
    return found


def resized(photograph: Image.Image, scale: float, kind: Image.Resampling) -> Pixels:
    """So many times smaller."""
    return np.asarray(photograph.resize((int(photograph.width / scale), int(photograph.height / scale)), kind))


def square_of(pixels: Pixels, side: int, generator: np.random.Generator) -> Pixels:
    """A square of so many pixels a side, or as many as there are."""
    top, left = (generator.integers(0, max(length - side, 0) + 1) for length in pixels.shape[:2])
    return np.ascontiguousarray(pixels[top : top + side, left : left + side])


if __name__ == "__main__":
    main()
