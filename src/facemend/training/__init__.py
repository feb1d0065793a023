"""The laboratory's torch zone: networks, losses, the loop, checkpoints and export. Needs the extra `train`."""
