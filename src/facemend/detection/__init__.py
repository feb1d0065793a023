"""Faces in photos: what one is, and how it is found."""

from facemend.detection.detector import Detector, Face, find_faces

__all__ = ["Detector", "Face", "find_faces"]
