"""Reconstruction: a model file, the picture that it delivers, and what that picture says about itself."""
