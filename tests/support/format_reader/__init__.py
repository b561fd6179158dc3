"""A small, slow reader of .bbc files, written from docs/format.md alone.

It imports nothing of bbcompress: one module follows one section of the page, and the docstring of each function names
the section that says what it does. What the page leaves open cannot be written here, and where page and code part,
tests/test_format_page.py fails.
"""
