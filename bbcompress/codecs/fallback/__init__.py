"""The fallback: images stored by raw, PNG or lossless WebP, whichever is the smallest."""
