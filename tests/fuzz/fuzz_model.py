"""Models: weights of checkpoints, as files carry them, are read. How to run it stands in fuzz_runner.py."""

from fuzz_runner import fuzz

if __name__ == "__main__":
    fuzz("model", "mutated_model")
