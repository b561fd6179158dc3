"""Images to sharded archives: the source is listed and cut, every shard is packed by itself, a manifest names all."""
