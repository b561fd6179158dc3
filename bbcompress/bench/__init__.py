"""Measurements for `bbc bench`: size against time."""
