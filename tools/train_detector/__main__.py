"""Trains the face detector and writes its ONNX file.

    pip install -e '.[train]'
    python -m tools.train_detector --data CELEBA --yunet face_detection_yunet.onnx --run runs/detector

CelebA (with identities) gives the people, of its train split alone; YuNet says once where their faces are.
The same command again goes on where the last one ended; when all scenes are seen, the file is written.
"""

import argparse
import os
from pathlib import Path

# Before torch: threads that wait for each other must not take the time of whoever else computes here.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import cv2
import torch

from facemend.datasets import Split, open_source, take_split
from tools.train_detector.export import export
from tools.train_detector.labels import read_labels
from tools.train_detector.scenes import Scenes
from tools.train_detector.training import Plan, train

_OUT = Path(__file__).parents[2] / "src" / "facemend" / "weights" / "detector.onnx"


def main() -> None:
    """Labels, trains and exports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="CelebA, as `facemend train` takes it")
    parser.add_argument("--yunet", type=Path, required=True, help="face_detection_yunet.onnx")
    parser.add_argument("--run", type=Path, required=True, help="folder of labels, state and log")
    parser.add_argument("--scenes", type=int, default=Plan.scenes, help="to train on")
    parser.add_argument("--threads", type=int, default=1, help="that compute; one more makes the scenes")
    parser.add_argument("--out", type=Path, default=_OUT, help="the file (default: the package's)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    source = take_split(open_source(options.data), Split.TRAIN)
    labels = read_labels(source, options.yunet, options.run / "labels.npz")
    export(train(Scenes(source, labels), Plan(scenes=options.scenes), options.run), options.out)


if __name__ == "__main__":
    main()
