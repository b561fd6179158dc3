"""VAEs whose decoders see the neighbourhood of a pixel: their network, objectives, presets, task and export."""
