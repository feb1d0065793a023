"""Makes the face detector's weights; see `__main__.py`."""
