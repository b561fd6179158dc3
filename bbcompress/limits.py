"""Limits and defaults that every layer, and the command line, share. Importing it costs nothing."""

MAX_PIXELS = 1 << 28
"""Default limit of width times height."""

MAX_SIDE = 1 << 24
"""Most pixels of a side of an image."""

MAX_STEPS = 1000
"""Most K steps that the format allows."""

READER_STEPS = 100
"""Most that a reader takes unless it is told otherwise: a file of few bytes may ask for any number of steps."""

ENCODERS = ("rha", "baseline")
"""The encoders of a model: trained by reverse half-asleep inference, and by the ELBO."""
