"""Finds faces in a photo, covered ones too: one network scans the photo, another looks twice at its finds.

The first, our own, is asked about the whole photo and about smaller copies for the large faces. Each find
is turned upright by its landmarks and shown to the second, MTCNN's last network: it refuses most of what
is no face, and knows better where the eyes are (`docs/detection.md`).
"""

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from facemend.faces.boxes import shift, suppress
from facemend.faces.face import Face, check_search
from facemend.faces.networks import Judgement, Network
from facemend.faces.scanner import Candidates, Scanner, together
from facemend.frame import Points, crop_face
from facemend.images import Image

MIN_CONFIDENCE = 0.46
MIN_SIZE_PX = 24.0

_WEIGHTS = Path(__file__).parents[1] / "weights"
_LONGEST_PX = 1280  # of the copy that is scanned
# Each next scan, for larger faces, sees the photo this much smaller; the last one is no smaller than that.
_SCAN_STEP, _SMALLEST_SCAN_PX = 3, 64
_PLAUSIBLE = 0.3  # confidence that earns a look of the second network
_PROMISING = 0.25  # mean confidence after it that earns another one, from where it sees the face
_MOST_LOOKED_AT = 200  # candidates, the surest; a crowd has fewer
# Overlaps of two finds of one face: shares of both together, and of the smaller one.
_SAME_CANDIDATE, _SAME_FACE, _SAME_PART = 0.4, 0.4, 0.6
_OUTPUT_PX = 48  # what the second network looks at
# It wants a face tightly cut, the canonical crop is wider: this part of it, 80 px wide.
_UPRIGHT_CROP_PX, _UPRIGHT_CORNER_PX = 80, np.array([16, 22])
_MIRRORED = [1, 0, 2, 4, 3]  # the landmarks' order in a mirror
# Copies are averaged over areas, as those were that the networks learned from.
_FILTER = PillowImage.Resampling.BOX


class Detector:
    """The face detector, ready to be called, from several threads if need be."""

    def __init__(self, folder: Path = _WEIGHTS, *, threads: int | None = None) -> None:
        """Opens its two files.

        Args:
            folder: where they lie (default: those that come with facemend).
            threads: how many threads one call may use; None leaves it to ONNX Runtime.

        Raises:
            ModelError: a file is missing, damaged or another network.
            UsageError: less than one thread.
        """
        self._scan = Scanner(folder / "detector.onnx", threads=threads)
        self._judge = Network(folder / "detector_onet.onnx", threads=threads)

    def __call__(
        self, image: Image, *, min_confidence: float = MIN_CONFIDENCE, min_size_px: float = MIN_SIZE_PX
    ) -> tuple[Face, ...]:
        """Finds the faces of a photo; see `find_faces`."""
        check_search(image, min_confidence, min_size_px)
        if not image.size:
            return ()
        copy, shrink = _working_copy(image)
        found = self._looked_at(copy, self._candidates(copy)).scaled(shrink)
        widths = found.boxes[:, 2] - found.boxes[:, 0]
        wanted = np.flatnonzero((found.confidence >= min_confidence) & (widths >= min_size_px))
        faces = [_face(found.boxes[i] - 0.5, found.landmarks_px[i], found.confidence[i]) for i in wanted]
        return tuple(sorted(faces, key=_area, reverse=True))

    def scan(self, image: Image, *, min_confidence: float) -> Points:
        """What the first network alone takes for faces in one look at a small picture: quick and rough.

        Args:
            image: (H, W, 3) uint8 RGB, in which a face is at least 16 px wide.
            min_confidence: 0-1.

        Returns:
            Landmarks (N, 5, 2) in the order of `frame.LANDMARK_NAMES`, the surest first. Several of them
            are usually one face.

        Raises:
            ModelError: the network cannot be run.
        """
        found = self._scan(image, min_confidence)
        return found.landmarks_px[np.argsort(-found.confidence, kind="stable")]

    def _candidates(self, copy: PillowImage.Image) -> Candidates:
        """What may be faces in any of the scans, each once, in pixels of the copy."""
        scans, level = [], copy
        while True:
            pixels = np.asarray(level, dtype=np.uint8)
            scans.append(self._scan(pixels, _PLAUSIBLE).scaled(np.divide(copy.size, level.size)))
            size = [max(1, round(side / _SCAN_STEP)) for side in level.size]
            if max(size) < _SMALLEST_SCAN_PX:
                break
            level = level.resize((size[0], size[1]), _FILTER)
        all_of_them = together(scans)
        best = suppress(all_of_them.boxes, all_of_them.confidence, _SAME_CANDIDATE)
        return all_of_them[best[:_MOST_LOOKED_AT]]

    def _looked_at(self, copy: PillowImage.Image, candidates: Candidates) -> Candidates:
        """The candidates as both networks see them, each face once, the surest first.

        Their confidence is the mean of both networks'. The surer the second is, the more it says about
        boxes and landmarks: of a face that is hidden whole, which it takes for none, the first knows more.
        """
        if not len(candidates.confidence):
            return candidates
        confidence, _, landmarks = self._look_again(copy, candidates.landmarks_px)
        promising = np.flatnonzero(candidates.confidence + confidence >= 2 * _PROMISING)
        if not len(promising):
            return candidates[promising]
        first = candidates[promising]
        confidence, boxes, landmarks = self._look_again(copy, landmarks[promising])
        boxes = first.boxes + confidence[:, None] * (boxes - first.boxes)
        landmarks = first.landmarks_px + confidence[:, None, None] * (landmarks - first.landmarks_px)
        found = Candidates((first.confidence + confidence) / 2, boxes, landmarks)
        found = found[suppress(found.boxes, found.confidence, _SAME_FACE)]
        # A part of a face looks like a face, too, but less so.
        return found[suppress(found.boxes, found.confidence, _SAME_PART, of_smaller=True)]

    def _look_again(self, copy: PillowImage.Image, landmarks_px: Points) -> tuple[Points, Points, Points]:
        """Judges faces anew that are turned upright by landmarks (N, 5, 2).

        Returns:
            Confidence (N,), boxes (N, 4) of edges and landmarks (N, 5, 2) in the copy. The box of a
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
        middles = points[:, 5] + 0.5
        return judged.confidence, np.concatenate([middles - half, middles + half], axis=1), points[:, :5]

    def _judge_both_ways(self, patches: Image) -> Judgement:
        """The second network's mean judgement of patches (N, 48, 48, 3) and of their mirror images."""
        plain, mirror = self._judge(patches), self._judge(patches[:, :, ::-1])
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
    """Finds the faces of a photo, upright or tilted by up to about 45°, covered in part or not.

    Args:
        image: (H, W, 3) uint8 RGB. It is scanned in a copy of at most 1280 px.
        min_confidence: 0-1; less finds more faces that hardly show, and more that are none.
        min_size_px: width of the smallest face wanted; in the copy it should be 16 at least to be found.

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
    return photo.resize(size, _FILTER, reducing_gap=1.0), np.divide(photo.size, size)


def _face(box: Points, landmarks: Points, confidence: float) -> Face:
    x1, y1, x2, y2 = box.tolist()
    return Face((x1, y1, x2, y2), landmarks, float(confidence))


def _area(face: Face) -> float:
    x1, y1, x2, y2 = face.box_px
    return (x2 - x1) * (y2 - y1)
