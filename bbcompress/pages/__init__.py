"""Pages that people look at: HTML files that need nothing else, and figures as PNG."""
