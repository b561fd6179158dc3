"""`import bbcompress.pillow` lets Pillow open and save .bbc files; so does `bbcompress.register_pillow`."""

from bbcompress.integrations.pillow import register_pillow

register_pillow()
