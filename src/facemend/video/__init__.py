"""Clips: faces followed through a shot, reconstructed in one way from frame to frame, and written back."""
