"""OpenCV, which the light core does without; one clear line where it is missing."""

from facemend.errors import FacemendError

try:
    import cv2
except ImportError as error:
    raise FacemendError('measuring needs OpenCV: pip install "facemend[evaluate]"') from error

__all__ = ["cv2"]
