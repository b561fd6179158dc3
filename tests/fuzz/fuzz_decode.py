"""Decoding: bytes of .bbc files become images. How to run it stands in fuzz_runner.py."""

from fuzz_runner import fuzz

if __name__ == "__main__":
    fuzz("decode", "mutated_file")
