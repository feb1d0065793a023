"""Measures systems that reconstruct faces: one protocol, its inputs, the baselines and the report."""
