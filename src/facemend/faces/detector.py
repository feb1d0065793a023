"""Finds faces in a photo, covered ones too: three networks, each asked about what the last one let pass.

The first judges every place of a pyramid of ever smaller copies, the second and the third what is left,
at 24 and at 48 px. What may be a face is then turned upright by the landmarks found and looked at anew,
twice: a tilted or half-covered face is found more often so, and its eyes are where they are said to be
(benchmarks/detection.py measures by how much).
"""

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from facemend.errors import UsageError
from facemend.faces.boxes import shift, squares_around, suppress
from facemend.faces.face import Face
from facemend.faces.networks import Judgement, Network
from facemend.frame import Points, crop_face
from facemend.images import Image

MIN_CONFIDENCE = 0.6
MIN_SIZE_PX = 24.0

_WEIGHTS = Path(__file__).parents[1] / "weights"
_LONGEST_PX = 1280  # of the copy that is worked on
_PYRAMID_STEP = 0.709  # halves the area from one copy to the next
_CELL_PX, _CELL_STEP_PX = 12, 2  # the squares that the first network judges
_REFINE_PX, _OUTPUT_PX = 24, 48  # what the second and the third look at
# What a face must reach to be passed on. Lower than usual (0.6, 0.7): a mask costs confidence, and what
# is let through wrongly is refused by the looks at the end.
_PROPOSED, _REFINED, _PLAUSIBLE = 0.5, 0.4, 0.2
_SAME_IN_COPY, _SAME, _SAME_FACE = 0.5, 0.7, 0.5  # overlaps of two finds of one face
_LOOKS = 2
# The third network wants a face tightly cut, the canonical crop is wider: this part of it, 80 px wide.
_UPRIGHT_CROP_PX, _UPRIGHT_CORNER_PX = 80, np.array([16, 22])
_MIRRORED = [1, 0, 2, 4, 3]  # the landmarks' order in a mirror
# Copies are averaged over areas, as those were that the networks learned from.
_FILTER = PillowImage.Resampling.BOX


class Detector:
    """The face detector, ready to be called, from several threads if need be."""

    def __init__(self, folder: Path = _WEIGHTS, *, threads: int | None = None) -> None:
        """Opens its three files.

        Args:
            folder: where they lie (default: those that come with facemend).
            threads: how many threads one call may use; None leaves it to ONNX Runtime.

        Raises:
            ModelError: a file is missing, damaged or another network.
            UsageError: less than one thread.
        """
        self._propose = Network(folder / "detector_pnet.onnx", threads=threads)
        self._refine = Network(folder / "detector_rnet.onnx", threads=threads)
        self._output = Network(folder / "detector_onet.onnx", finds_landmarks=True, threads=threads)

    def __call__(
        self, image: Image, *, min_confidence: float = MIN_CONFIDENCE, min_size_px: float = MIN_SIZE_PX
    ) -> tuple[Face, ...]:
        """Finds the faces of a photo; see `find_faces`."""
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"the photo is {image.dtype} {image.shape}, not uint8 (H, W, 3)")
        if not 0 <= min_confidence <= 1:
            raise UsageError(f"a confidence of {min_confidence} cannot be; use 0 to 1")
        if not min_size_px > 0:
            raise UsageError(f"faces of {min_size_px} px cannot be; use more than 0")
        if not image.size:
            return ()
        copy, shrink = _working_copy(image)
        boxes = self._refined(copy, self._proposed(copy, max(min_size_px / shrink.max(), _CELL_PX)))
        faces = [face for face in self._faces(copy, boxes, shrink) if face.confidence >= min_confidence]
        return tuple(sorted(faces, key=_area, reverse=True))

    def _proposed(self, copy: PillowImage.Image, smallest_px: float) -> Points:
        """Squares (N, 4) that may show a face, from every size of the pyramid."""
        boxes, scores = [np.empty((0, 4))], [np.empty(0)]
        scale = _CELL_PX / smallest_px
        while min(copy.size) * scale >= _CELL_PX:
            size = round(copy.width * scale), round(copy.height * scale)
            level = np.asarray(copy.resize(size, _FILTER), dtype=np.uint8)
            judged = self._propose(level[None])
            passed = np.flatnonzero(judged.confidence > _PROPOSED)
            found = shift(_cells(*size)[passed], judged.offsets[passed])
            confidence = judged.confidence[passed]
            best = suppress(found, confidence, _SAME_IN_COPY)
            boxes.append(found[best] * np.tile(np.divide(copy.size, size), 2))
            scores.append(confidence[best])
            scale *= _PYRAMID_STEP
        together = np.concatenate(boxes)
        return squares_around(together[suppress(together, np.concatenate(scores), _SAME)])

    def _refined(self, copy: PillowImage.Image, squares: Points) -> Points:
        """The squares (N, 4) that the second network lets pass, moved to where it sees the face."""
        if not len(squares):
            return squares
        judged = self._refine(_cut(copy, squares, _REFINE_PX))
        passed = np.flatnonzero(judged.confidence > _REFINED)
        boxes = shift(squares[passed], judged.offsets[passed])
        return squares_around(boxes[suppress(boxes, judged.confidence[passed], _SAME)])

    def _faces(self, copy: PillowImage.Image, squares: Points, shrink: Points) -> list[Face]:
        """What the third network makes of squares (N, 4): each face once, in pixels of the photo."""
        if not len(squares):
            return []
        judged = self._judge_both_ways(_cut(copy, squares, _OUTPUT_PX))
        passed = np.flatnonzero(judged.confidence > _PLAUSIBLE)
        boxes = shift(squares, judged.offsets)[passed]
        passed = passed[suppress(boxes, judged.confidence[passed], _SAME)]
        if not len(passed):
            return []
        corners, sides = squares[passed, :2], (squares[:, 2] - squares[:, 0])[passed]
        landmarks = judged.landmarks[passed] * sides[:, None, None] + corners[:, None] - 0.5
        for _ in range(_LOOKS):
            confidence, boxes, landmarks = self._look_again(copy, landmarks)
        best = suppress(boxes, confidence, _SAME_FACE, of_smaller=True)
        boxes = (boxes + 0.5) * np.tile(shrink, 2) - 0.5
        landmarks = (landmarks + 0.5) * shrink - 0.5
        return [_face(boxes[i], landmarks[i], confidence[i]) for i in best]

    def _look_again(self, copy: PillowImage.Image, landmarks_px: Points) -> tuple[Points, Points, Points]:
        """Judges faces anew that are turned upright by landmarks (N, 5, 2).

        Returns:
            Confidence (N,), boxes (N, 4) and landmarks (N, 5, 2) in pixels of the copy. The box of a
            tilted face is upright, as large as it would be if the face were.
        """
        photo = np.asarray(copy, dtype=np.uint8)
        crops = [crop_face(photo, points, _UPRIGHT_CROP_PX) for points in landmarks_px]
        (x, y), side = _UPRIGHT_CORNER_PX, _OUTPUT_PX
        judged = self._judge_both_ways(np.stack([c.image[y : y + side, x : x + side] for c in crops]))
        boxes = shift(np.tile((0.0, 0.0, 1.0, 1.0), (len(crops), 1)), judged.offsets)
        middles, sizes = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
        points = np.concatenate([judged.landmarks, middles[:, None]], axis=1)
        back = np.stack([crop.crop_to_photo for crop in crops])
        points = (points * side + _UPRIGHT_CORNER_PX - 0.5) @ back[:, :, :2].transpose(0, 2, 1)
        points += back[:, None, :, 2]
        half = sizes * side / 2 * np.hypot(back[:, 0, :1], back[:, 1, :1])
        middles = points[:, 5]
        return judged.confidence, np.concatenate([middles - half, middles + half], axis=1), points[:, :5]

    def _judge_both_ways(self, patches: Image) -> Judgement:
        """The third network's mean judgement of patches (N, 48, 48, 3) and of their mirror images."""
        plain, mirror = self._output(patches), self._output(patches[:, :, ::-1])
        offsets = mirror.offsets[:, [2, 1, 0, 3]] * (-1, 1, -1, 1)
        landmarks = mirror.landmarks[:, _MIRRORED] * (-1, 1) + (1, 0)
        return Judgement(
            (plain.confidence + mirror.confidence) / 2,
            (plain.offsets + offsets) / 2,
            (plain.landmarks + landmarks) / 2,
        )


def find_faces(
    image: Image, *, min_confidence: float = MIN_CONFIDENCE, min_size_px: float = MIN_SIZE_PX
) -> tuple[Face, ...]:
    """Finds the faces of a photo, upright or tilted by up to about 30°, covered in part or not.

    Args:
        image: (H, W, 3) uint8 RGB. It is worked on in a copy of at most 1280 px.
        min_confidence: 0-1; less finds more faces that hardly show, and more that are none.
        min_size_px: width of the smallest face looked for, in the copy at least 12; a smaller face may
            still be found. Half of it means up to four times as many places to judge.

    Returns:
        Each face once, the largest first.

    Raises:
        ModelError: the networks that come with facemend are missing or damaged.
        UsageError: a confidence or a size that cannot be.
        ValueError: another shape or type.
    """
    return _shipped_detector()(image, min_confidence=min_confidence, min_size_px=min_size_px)


@cache
def _shipped_detector() -> Detector:
    return Detector()


def _working_copy(image: Image) -> tuple[PillowImage.Image, Points]:
    """The photo, no side longer than _LONGEST_PX, and how much smaller it is in x and y: (2,)."""
    photo = PillowImage.fromarray(image)
    shrink = max(1.0, max(photo.size) / _LONGEST_PX)
    size = max(1, round(photo.width / shrink)), max(1, round(photo.height / shrink))
    return photo.resize(size, _FILTER), np.divide(photo.size, size)


def _cells(width_px: int, height_px: int) -> Points:
    """The squares (N, 4) that the first network judges in a picture, in the order of its output."""
    rows, columns = (-(-(side - 2) // 2) - 4 for side in (height_px, width_px))
    y, x = np.mgrid[0:rows, 0:columns].reshape(2, -1) * _CELL_STEP_PX
    return np.stack([x, y, x + _CELL_PX, y + _CELL_PX], axis=1).astype(np.float64)


def _cut(picture: PillowImage.Image, boxes: Points, side_px: int) -> Image:
    """Cuts squares (N, 4) out, each resized: uint8 (N, side, side, 3). Beyond the border is black."""
    patches = []
    for box in boxes:
        low, high = np.floor(box[:2]).astype(int), np.ceil(box[2:]).astype(int)
        x1, y1, x2, y2 = (box - np.tile(low, 2)).tolist()
        around = picture.crop((int(low[0]), int(low[1]), int(high[0]), int(high[1])))
        patches.append(around.resize((side_px, side_px), _FILTER, box=(x1, y1, x2, y2)))
    return np.stack([np.asarray(patch, dtype=np.uint8) for patch in patches])


def _face(box: Points, landmarks: Points, confidence: float) -> Face:
    x1, y1, x2, y2 = box.tolist()
    return Face((x1, y1, x2, y2), landmarks, float(confidence))


def _area(face: Face) -> float:
    x1, y1, x2, y2 = face.box_px
    return (x2 - x1) * (y2 - y1)
