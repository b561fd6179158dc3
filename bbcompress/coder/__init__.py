"""The coder: ANS messages, their compiled loops, and where these are kept."""
