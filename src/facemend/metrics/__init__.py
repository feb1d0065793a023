"""Metrics on uint8 pictures, range 255. Each is tested against a reference or by hand."""
