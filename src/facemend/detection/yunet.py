"""YuNet, from a file of the user's, in ONNX Runtime: no OpenCV is needed.

Wu, Peng, Yu, "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research 20, 2023. The
file is OpenCV Zoo's `face_detection_yunet`, of the release of 2023 or later (MIT).
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from facemend.alignment import Points
from facemend.detection.detector import Face, check_search, non_max_suppression
from facemend.errors import ModelError
from facemend.images import Image
from facemend.onnx_model import OnnxModel

_STRIDES = (8, 16, 32)
_OUTPUTS = [f"{name}_{stride}" for name in ("cls", "obj", "bbox", "kps") for stride in _STRIDES]
_UNFIT = "is not YuNet of 2023 or later (face_detection_yunet_2023mar.onnx)"
_LONGEST_PX = 1280  # of the copy that is worked on
_SMALLEST_FACE_PX = 10  # that the network was trained to see
_SAME = 0.3
_DEFAULT_CONFIDENCE, _DEFAULT_SIZE_PX = 0.6, 24.0


class YuNet:
    """The face detector YuNet, ready to be called, from several threads if need be."""

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        """Opens a file.

        Args:
            threads: how many threads one call may use. None for all cores.

        Raises:
            ModelError: the file is missing, damaged or of another network.
            UsageError: less than one thread.
        """
        self._model = OnnxModel(path, _OUTPUTS, unfit=_UNFIT, threads=threads)
        if len(self._model.inputs) != 1:
            raise ModelError(f"{path} {_UNFIT}")
        ((self._input, info),) = self._model.inputs.items()
        # Some releases take one size only; a picture is then fitted into it.
        height, width = info.shape[2:]
        self._fixed_px = (width, height) if width and height else None

    def __call__(
        self,
        image: Image,
        *,
        min_confidence: float = _DEFAULT_CONFIDENCE,
        min_size_px: float = _DEFAULT_SIZE_PX,
    ) -> tuple[Face, ...]:
        """Finds faces as `facemend.detection.find_faces` does, in a copy of the photo of at most 1280 px.

        A photo of small faces is not enlarged for them beyond what `min_size_px` asks for.
        """
        check_search(image, min_confidence, min_size_px)
        if not image.size:
            return ()
        pixels, shrink = self._copy(image, min_size_px)
        confidence, boxes, landmarks = self._run(pixels)
        passed = np.flatnonzero(confidence >= max(min_confidence, 1e-3))
        boxes, landmarks, confidence = boxes[passed], landmarks[passed], confidence[passed]
        best = non_max_suppression(boxes, confidence, _SAME)
        faces = [
            _face(boxes[i] * np.tile(shrink, 2) - 0.5, landmarks[i] * shrink - 0.5, confidence[i])
            for i in best
        ]
        faces = [face for face in faces if face.box_px[2] - face.box_px[0] >= min_size_px / 2]
        return tuple(sorted(faces, key=_area, reverse=True))

    def _copy(self, image: Image, min_size_px: float) -> tuple[Image, Points]:
        """The photo at the size that the network sees, with black beside it, and its shrinking in x, y."""
        photo = PillowImage.fromarray(image)
        longest = min(_LONGEST_PX, max(photo.size) * max(1.0, _SMALLEST_FACE_PX / min_size_px))
        ratio = min(1.0, longest / max(photo.size))
        if self._fixed_px:
            ratio = min(side / length for side, length in zip(self._fixed_px, photo.size, strict=True))
        width, height = (max(1, round(length * ratio)) for length in photo.size)
        small = photo.resize((width, height), PillowImage.Resampling.BOX)
        coarsest = _STRIDES[-1]
        columns, rows = self._fixed_px or (
            -(-width // coarsest) * coarsest,
            -(-height // coarsest) * coarsest,
        )
        pixels = np.zeros((rows, columns, 3), dtype=np.uint8)
        pixels[:height, :width] = np.asarray(small, dtype=np.uint8)
        return pixels, np.divide(photo.size, (width, height))

    def _run(self, pixels: Image) -> tuple[Points, Points, Points]:
        """Confidence (N,), boxes (N, 4) between edges, and landmarks (N, 5, 2), in pixels of the copy."""
        # It takes blue first, and levels of 0-255.
        batch = np.ascontiguousarray(pixels[None, :, :, ::-1].transpose(0, 3, 1, 2), dtype=np.float32)
        outputs = self._model.run({self._input: batch})
        grids: dict[str, npt.NDArray[np.float64]] = {
            name: value[0].astype(np.float64) for name, value in outputs.items()
        }
        found = []
        for stride in _STRIDES:
            rows, columns = pixels.shape[0] // stride, pixels.shape[1] // stride
            y, x = np.mgrid[0:rows, 0:columns].reshape(2, -1).astype(np.float64)
            cells = np.stack([x, y], axis=1)
            sure = np.sqrt(grids[f"cls_{stride}"].clip(0, 1) * grids[f"obj_{stride}"].clip(0, 1))[:, 0]
            box, points = grids[f"bbox_{stride}"], grids[f"kps_{stride}"].reshape(-1, 5, 2)
            middle, half = (cells + box[:, :2]) * stride, np.exp(box[:, 2:].clip(max=10)) * stride / 2
            found.append(
                (sure, np.hstack([middle - half, middle + half]), (points + cells[:, None]) * stride)
            )
        sure, boxes, landmarks = (np.concatenate(values) for values in zip(*found, strict=True))
        return sure, boxes, landmarks


def _face(box: Points, landmarks: Points, confidence: float) -> Face:
    x1, y1, x2, y2 = box.tolist()
    return Face((x1, y1, x2, y2), landmarks, float(confidence))


def _area(face: Face) -> float:
    x1, y1, x2, y2 = face.box_px
    return (x2 - x1) * (y2 - y1)
