"""Images: exact pixels, what files say beside them, reading and writing."""
