"""The container: bytes of .bbc files are opened, listed and read. How to run it stands in fuzz_runner.py."""

from fuzz_runner import fuzz

if __name__ == "__main__":
    fuzz("container", "mutated_file")
