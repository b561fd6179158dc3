"""The .bbc container: byte primitives, group headers, names, index and checksums (docs/format.md)."""
