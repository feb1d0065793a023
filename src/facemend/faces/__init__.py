"""Faces in photos: what one is, and (to come) how it is found."""

from facemend.faces.face import Face

__all__ = ["Face"]
