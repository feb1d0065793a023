"""The torch zone: networks, losses, loop, checkpoints and export. Needs the extra `train`."""
