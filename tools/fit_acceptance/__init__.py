"""Fits the table by which a face counts as covered."""
