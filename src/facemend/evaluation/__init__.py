"""Measures systems that reconstruct faces: one protocol, its inputs, the baselines and the report."""

import facemend.metrics.image  # noqa: F401 (it says what to install where OpenCV is missing)
