"""OpenCV, which the light core does not require. If it is missing, the error says how to install it."""

from facemend.errors import FacemendError

try:
    import cv2
except ImportError as error:
    raise FacemendError('measuring needs OpenCV: pip install "facemend[evaluate]"') from error

__all__ = ["cv2"]
