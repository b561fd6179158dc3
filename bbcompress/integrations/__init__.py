"""Other libraries: Pillow, PyTorch."""
