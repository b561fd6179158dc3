"""The manifests of sharded archives, beside shards that are there. How to run it stands in fuzz_runner.py."""

from fuzz_runner import fuzz

if __name__ == "__main__":
    fuzz("manifest", "mutated_manifest")
