"""From files to files: what is to be compressed, the compressor, the reader."""
