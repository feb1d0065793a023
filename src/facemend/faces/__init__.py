"""Faces in photos: what one is, and how it is found."""

from facemend.faces.detector import Detector, find_faces
from facemend.faces.face import Face
from facemend.faces.landmarks import trust_eyes

__all__ = ["Detector", "Face", "find_faces", "trust_eyes"]
