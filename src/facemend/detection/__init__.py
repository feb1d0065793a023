"""Faces in photos: what one is, and how it is found."""

from facemend.detection.detector import Detector, find_faces
from facemend.detection.face import Face, trust_eyes

__all__ = ["Detector", "Face", "find_faces", "trust_eyes"]
