"""Image files: what compress reads. How to run it stands in fuzz_runner.py."""

from fuzz_runner import fuzz

if __name__ == "__main__":
    fuzz("images", "mutated_png")
