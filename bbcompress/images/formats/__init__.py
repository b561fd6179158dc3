"""Image formats: a module or package for each, which declares itself as `FORMAT`; `registry.py` finds it."""
