"""The operating system: files that appear whole, processes, threads, signals."""
