"""bbc: lossless image compression with variational auto-encoders and bits-back coding."""

__version__ = "0.1.0"
