"""Architectures: a module each, with its networks, its options and what it is trained on."""
