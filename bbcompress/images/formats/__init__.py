"""Image formats: a module each, or two where metadata is a matter of its own."""
