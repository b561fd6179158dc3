"""The causal neighbourhood of the `local` models: the 24 pixels within 3 that come before a pixel in raster order."""

from __future__ import annotations

RADIUS = 3
OFFSETS = tuple((dy, dx) for dy in range(-RADIUS, 1) for dx in range(-RADIUS, RADIUS + 1) if dy < 0 or dx < 0)
"""(dy, dx) of each neighbour, in raster order."""
LEFT = OFFSETS.index((0, -1))
UPPER = OFFSETS.index((-1, 0))
