"""Metrics on uint8 pictures, range 255. One metric a file, each tested against a reference or by hand."""
