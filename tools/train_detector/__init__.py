"""Makes the face detector's weights: labels, scenes, network, training, export. Run `python -m tools.train_detector`."""
