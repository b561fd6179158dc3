"""Exact arithmetic: fixed-point layers, integer tables and integer distributions.

Every number here is an integer, or a float64 made from integers by single IEEE operations, so that any machine gets
the same numbers whatever its threads, batch sizes, instruction sets or library releases.
"""
