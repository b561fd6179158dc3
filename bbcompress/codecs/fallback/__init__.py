"""The fallback: images stored as raw, PNG, lossless WebP or, of 16 bits, deep, whichever is the smallest."""
