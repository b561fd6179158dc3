"""Checkpoints of a run: files that appear whole, in one piece or in parts."""
