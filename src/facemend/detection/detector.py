"""Finds faces in pictures: a scan, a second network that refines it, and non-maximum suppression.

The first network's outputs are three grids with cells 8, 16 and 32 px apart. Each cell scores a face whose
middle is near. It also gives the box and the landmarks of that face, from the middle of the cell and in
units of its side. `tools/train_detector` trains the network.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from facemend.alignment import Points, crop_face
from facemend.errors import UsageError
from facemend.images import Image, to_network
from facemend.onnx_model import OnnxModel, Tensor
from facemend.thresholds import THRESHOLDS


@dataclass(frozen=True)
class Face:
    """Where a face is.

    Attributes:
        box_px: x1, y1, x2, y2 in pixels of the photo. It may leave the photo. See also `box`.
        landmarks_px: float64 (5, 2), x and y in the order of `alignment.LANDMARK_NAMES`, left and right
            as the viewer sees them.
        confidence: 0-1, how sure the detector is. It is 1 where the user says that there is a face.
        marked: whether the user says that there is a covered face.
    """

    box_px: tuple[float, float, float, float]
    landmarks_px: Points
    confidence: float
    marked: bool = False

    @property
    def box(self) -> tuple[float, float, float, float]:
        """x, y, width and height, as `Options.faces` takes it: the top left pixel is 0, 0, 1, 1."""
        x1, y1, x2, y2 = self.box_px
        return x1 + 0.5, y1 + 0.5, x2 - x1, y2 - y1

    def __post_init__(self) -> None:
        x1, y1, x2, y2 = self.box_px
        if not (np.isfinite(self.box_px).all() and x1 < x2 and y1 < y2):
            raise ValueError(f"{self.box_px} is no box x1, y1, x2, y2")
        if self.landmarks_px.shape != (5, 2) or self.landmarks_px.dtype != np.float64:
            raise ValueError(
                f"landmarks are {self.landmarks_px.dtype} {self.landmarks_px.shape}, not float64 (5, 2)"
            )
        if not np.isfinite(self.landmarks_px).all():
            raise ValueError("landmarks are not finite")
        if not 0 <= self.confidence <= 1:
            raise ValueError(f"confidence {self.confidence} leaves 0-1")


def check_search(image: Image, min_confidence: float, min_size_px: float) -> None:
    """What every detector demands of what it is asked.

    Raises:
        ValueError: the photo is not uint8 (H, W, 3).
        UsageError: a confidence that is not 0 to 1, or a size that is not above 0.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"the photo is {image.dtype} {image.shape}, not uint8 (H, W, 3)")
    if not 0 <= min_confidence <= 1:
        raise UsageError(f"a confidence of {min_confidence} cannot be; use 0 to 1")
    if not min_size_px > 0:
        raise UsageError(f"faces of {min_size_px} px cannot be; use more than 0")


STRIDES_PX = (8, 16, 32)
INPUT = "image"
UNFIT = "is not this network of the face detector; install facemend again"
"""What both networks of the detector take, and what is said of a file that is another."""
_SCAN_OUTPUTS = ("confidence", "boxes", "landmarks")
_GRAY = 127
_MIRRORED = [1, 0, 2, 4, 3]  # the landmarks' order in a mirror
_LARGEST_LOG = 5.0  # of a box's side in cells: 150 of them


@dataclass(frozen=True)
class Candidates:
    """What may be faces, in any order. One face is usually several of them.

    Attributes:
        confidence: float64 (N,), 0-1.
        boxes: float64 (N, 4), x1, y1, x2, y2 of their edges.
        landmarks_px: float64 (N, 5, 2), in the order of `alignment.LANDMARK_NAMES`.
    """

    confidence: Points
    boxes: Points
    landmarks_px: Points

    def __getitem__(self, which: npt.NDArray[np.intp] | list[int]) -> "Candidates":
        return Candidates(self.confidence[which], self.boxes[which], self.landmarks_px[which])

    def scaled(self, factors: Points) -> "Candidates":
        """The same in a picture that is larger by factors (2,) in x and y."""
        landmarks = (self.landmarks_px + 0.5) * factors - 0.5
        return Candidates(self.confidence, self.boxes * np.tile(factors, 2), landmarks)


def concatenate(many: list[Candidates]) -> Candidates:
    """The candidates of several scans of one picture."""
    return Candidates(
        np.concatenate([each.confidence for each in many]),
        np.concatenate([each.boxes for each in many]),
        np.concatenate([each.landmarks_px for each in many]),
    )


class Scanner:
    """The network, ready to be called, from several threads if need be."""

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        """Opens its file.

        Args:
            threads: how many threads one call may use. None for all cores.

        Raises:
            ModelError: the file is missing, damaged or of another network.
            UsageError: less than one thread.
        """
        self._model = OnnxModel(path, _SCAN_OUTPUTS, inputs=[INPUT], unfit=UNFIT, threads=threads)

    def __call__(self, pictures: Sequence[Image], least: float) -> list[Candidates]:
        """Of each picture (H, W, 3), all cells that are surer than `least`.

        Raises:
            ModelError: the network cannot be run.
        """
        padded = [_padded(picture) for picture in pictures]
        batches = list(map(to_network, padded))
        outputs = [self._model.run({INPUT: batch}) for batch in batches]
        return [
            _decoded(output, batch.shape[2:], least) for output, batch in zip(outputs, batches, strict=True)
        ]


def _padded(picture: Image) -> Image:
    """A picture as a batch of one, filled up with gray to whole cells of the coarsest grid."""
    height, width = (-(-side // STRIDES_PX[-1]) * STRIDES_PX[-1] for side in picture.shape[:2])
    padded = np.full((1, height, width, 3), _GRAY, dtype=np.uint8)
    padded[0, : picture.shape[0], : picture.shape[1]] = picture
    return padded


def _decoded(outputs: Mapping[str, Tensor], size_px: tuple[int, ...], least: float) -> Candidates:
    """The cells of a picture's grids, of this height and width, that are surer than `least`."""
    confidence, boxes, landmarks = (output[0].astype(np.float64) for output in outputs.values())
    sure = np.flatnonzero(confidence > least)
    middles, strides = (each[sure] for each in cells_of(*size_px))
    centres = middles + boxes[sure, :2] * strides
    half = np.exp(boxes[sure, 2:].clip(max=_LARGEST_LOG)) * strides / 2
    points = landmarks[sure].reshape(-1, 5, 2) * strides[:, None] + middles[:, None] - 0.5
    return Candidates(confidence[sure], np.concatenate([centres - half, centres + half], axis=1), points)


def cells_of(height_px: int, width_px: int) -> tuple[Points, Points]:
    """The middles (cells, 2) of all cells of a picture, in edges, and their strides (cells, 1).

    Finest grid first, row by row.

    Args:
        height_px, width_px: multiples of 32.
    """
    middles, strides = [], []
    for stride in STRIDES_PX:
        y, x = np.mgrid[0 : height_px // stride, 0 : width_px // stride].reshape(2, -1)
        middles.append((np.stack([x, y], axis=1) + 0.5) * stride)
        strides.append(np.full((len(x), 1), stride, dtype=np.float64))
    return np.concatenate(middles), np.concatenate(strides)


_REFINED_OUTPUTS = ("confidence", "offsets", "landmarks")


@dataclass(frozen=True)
class Refinement:
    """What the second network says about N squares.

    Attributes:
        confidence: float64 (N,), 0-1, that a square shows a face.
        offsets: float64 (N, 4), from the square to the face's box, as `apply_offsets` takes them.
        landmarks: float64 (N, 5, 2), x and y as shares of the square's side, in the order of
            `alignment.LANDMARK_NAMES`.
    """

    confidence: Points
    offsets: Points
    landmarks: Points


class Refiner:
    """The second network, ready to be called, from several threads if need be."""

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        """Opens its file.

        Args:
            threads: how many threads one call may use. None for all cores.

        Raises:
            ModelError: the file is missing, damaged or of another network.
            UsageError: less than one thread.
        """
        self._model = OnnxModel(path, _REFINED_OUTPUTS, inputs=[INPUT], unfit=UNFIT, threads=threads)

    def __call__(self, images: npt.NDArray[np.uint8]) -> Refinement:
        """Scores squares and locates the faces in them: the mean over them and their mirror images.

        Args:
            images: uint8 (N, 48, 48, 3) RGB.

        Raises:
            ModelError: the network cannot be run.
        """
        batches = list(map(to_network, (images, images[:, :, ::-1])))
        outputs = [self._model.run({INPUT: batch}) for batch in batches]
        plain, mirror = map(_refinement, outputs)
        offsets = mirror.offsets[:, [2, 1, 0, 3]] * (-1, 1, -1, 1)
        landmarks = mirror.landmarks[:, _MIRRORED] * (-1, 1) + (1, 0)
        return Refinement(
            (plain.confidence + mirror.confidence) / 2,
            (plain.offsets + offsets) / 2,
            (plain.landmarks + landmarks) / 2,
        )


def _refinement(outputs: Mapping[str, Tensor]) -> Refinement:
    confidence, offsets, landmarks = (
        output.reshape(len(output), -1).astype(np.float64) for output in outputs.values()
    )
    return Refinement(confidence[:, 0], offsets, landmarks.reshape(-1, 2, 5).transpose(0, 2, 1))


_MOST_INWARDS = 0.45


def apply_offsets(boxes: Points, offsets: Points) -> Points:
    """Moves every edge of boxes (N, 4) by its offset (N, 4), a share of the box's width or height.

    No edge is moved across the middle of its box.
    """
    sizes = boxes[:, 2:] - boxes[:, :2]
    low, high = offsets[:, :2].clip(max=_MOST_INWARDS), offsets[:, 2:].clip(min=-_MOST_INWARDS)
    moved: Points = boxes + np.concatenate([low, high], axis=1) * np.tile(sizes, 2)
    return moved


def overlaps(box: Points, boxes: Points, *, of_smaller: bool = False) -> Points:
    """What a box (4,) shares with each of others (N, 4): (N,), 0-1.

    Args:
        of_smaller: as a share of the smaller of the two, not of all that both cover.
    """
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    common = np.prod((high - low).clip(0), axis=1)
    area, areas = np.prod(box[2:] - box[:2]), np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    whole = np.minimum(area, areas) if of_smaller else area + areas - common
    shares: Points = common / whole
    return shares


def non_max_suppression(
    boxes: Points, scores: Points, most: float, *, of_smaller: bool = False
) -> list[int]:
    """Non-maximum suppression: which boxes no better one overlaps by more than `most`, best first.

    Args:
        boxes, scores: (N, 4) of positive size, and (N,).
        most: of `overlaps`, 0-1.
    """
    kept, waiting = [], np.argsort(-scores, kind="stable")
    while len(waiting):
        best, waiting = waiting[0], waiting[1:]
        kept.append(int(best))
        waiting = waiting[overlaps(boxes[best], boxes[waiting], of_smaller=of_smaller) <= most]
    return kept


MIN_SIZE_PX = 24.0

_WEIGHTS = Path(__file__).parents[1] / "weights"
_LONGEST_PX = 1280  # of the copy that is scanned
# Each next scan, for larger faces, sees the photo this much smaller; the last one is no smaller than that.
_SCAN_STEP, _SMALLEST_SCAN_PX = 3, 64
_PLAUSIBLE = 0.3  # confidence that earns a pass of the second network
_PROMISING = 0.25  # mean confidence after it that earns another one, from where it sees the face
_MOST_CANDIDATES = 200  # candidates, the surest; a crowd has fewer
# Overlaps of two finds of one face: shares of both together, and of the smaller one.
_SAME_CANDIDATE, _SAME_FACE, _SAME_PART = 0.4, 0.4, 0.6
_OUTPUT_PX = 48  # side of the second network's input
# It wants a face tightly cut, the canonical crop is wider: this part of it, 80 px wide.
_UPRIGHT_CROP_PX, _UPRIGHT_CORNER_PX = 80, np.array([16, 22])
# Copies are averaged over areas, as those were that the networks learned from.
_FILTER = PillowImage.Resampling.BOX


class Detector:
    """The face detector, ready to be called, from several threads if need be."""

    def __init__(self, folder: Path = _WEIGHTS, *, threads: int | None = None) -> None:
        """Opens its two files.

        Args:
            folder: where they lie (default: those that come with facemend).
            threads: how many threads one call may use. None for all cores.

        Raises:
            ModelError: a file is missing, damaged or another network.
            UsageError: less than one thread.
        """
        self._scan = Scanner(folder / "detector.onnx", threads=threads)
        self._refiner = Refiner(folder / "detector_onet.onnx", threads=threads)

    def __call__(
        self,
        image: Image,
        *,
        min_confidence: float = THRESHOLDS.min_confidence,
        min_size_px: float = MIN_SIZE_PX,
    ) -> tuple[Face, ...]:
        """Finds the faces of a photo; see `find_faces`."""
        check_search(image, min_confidence, min_size_px)
        if not image.size:
            return ()
        copy, shrink = _working_copy(image)
        found = self._refined(copy, self._candidates(copy)).scaled(shrink)
        widths = found.boxes[:, 2] - found.boxes[:, 0]
        wanted = np.flatnonzero((found.confidence >= min_confidence) & (widths >= min_size_px))
        faces = [_face(found.boxes[i] - 0.5, found.landmarks_px[i], found.confidence[i]) for i in wanted]
        return tuple(sorted(faces, key=_area, reverse=True))

    def scan(self, image: Image, *, min_confidence: float) -> Points:
        """What the first network alone takes for faces in one pass over a small picture: quick and rough.

        Args:
            image: (H, W, 3) uint8 RGB, in which a face is at least 16 px wide.
            min_confidence: 0-1.

        Returns:
            Landmarks (N, 5, 2) in the order of `alignment.LANDMARK_NAMES`, the surest first. Several of
            them are usually one face.

        Raises:
            ModelError: the network cannot be run.
        """
        (found,) = self._scan([image], min_confidence)
        return found.landmarks_px[np.argsort(-found.confidence, kind="stable")]

    def _candidates(self, copy: PillowImage.Image) -> Candidates:
        """What may be faces in any of the scans, each once, in pixels of the copy."""
        levels = [copy]
        while max(size := _next_size(levels[-1])) >= _SMALLEST_SCAN_PX:
            levels.append(levels[-1].resize(size, _FILTER))
        scans = self._scan([np.asarray(level, dtype=np.uint8) for level in levels], _PLAUSIBLE)
        all_of_them = concatenate(
            [
                scan.scaled(np.divide(copy.size, level.size))
                for scan, level in zip(scans, levels, strict=True)
            ]
        )
        best = non_max_suppression(all_of_them.boxes, all_of_them.confidence, _SAME_CANDIDATE)
        return all_of_them[best[:_MOST_CANDIDATES]]

    def _refined(self, copy: PillowImage.Image, candidates: Candidates) -> Candidates:
        """The candidates as both networks see them, each face once, the surest first.

        Their confidence is the mean of both networks'. The surer the second is, the more its boxes and
        landmarks count. Of a face that is hidden whole, the second sees nothing and the first knows more.
        """
        if not len(candidates.confidence):
            return candidates
        confidence, _, landmarks = self._refine(copy, candidates.landmarks_px)
        promising = np.flatnonzero(candidates.confidence + confidence >= 2 * _PROMISING)
        if not len(promising):
            return candidates[promising]
        first = candidates[promising]
        confidence, boxes, landmarks = self._refine(copy, landmarks[promising])
        boxes = first.boxes + confidence[:, None] * (boxes - first.boxes)
        landmarks = first.landmarks_px + confidence[:, None, None] * (landmarks - first.landmarks_px)
        found = Candidates((first.confidence + confidence) / 2, boxes, landmarks)
        found = found[non_max_suppression(found.boxes, found.confidence, _SAME_FACE)]
        # A part of a face scores as a face as well, but lower.
        return found[non_max_suppression(found.boxes, found.confidence, _SAME_PART, of_smaller=True)]

    def _refine(self, copy: PillowImage.Image, landmarks_px: Points) -> tuple[Points, Points, Points]:
        """Refines faces that are turned upright by their landmarks (N, 5, 2).

        Returns:
            Confidence (N,), boxes (N, 4) of edges and landmarks (N, 5, 2) in the copy. The box of a
            tilted face is upright, as large as it would be if the face were.
        """
        photo = np.asarray(copy, dtype=np.uint8)
        crops = [crop_face(photo, points, _UPRIGHT_CROP_PX) for points in landmarks_px]
        (x, y), side = _UPRIGHT_CORNER_PX, _OUTPUT_PX
        refined = self._refiner(np.stack([c.image[y : y + side, x : x + side] for c in crops]))
        boxes = apply_offsets(np.tile((0.0, 0.0, 1.0, 1.0), (len(crops), 1)), refined.offsets)
        middles, sizes = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
        points = np.concatenate([refined.landmarks, middles[:, None]], axis=1)
        back = np.stack([crop.crop_to_photo for crop in crops])
        points = (points * side + _UPRIGHT_CORNER_PX - 0.5) @ back[:, :, :2].transpose(0, 2, 1)
        points += back[:, None, :, 2]
        half = sizes * side / 2 * np.hypot(back[:, 0, :1], back[:, 1, :1])
        middles = points[:, 5] + 0.5
        return refined.confidence, np.concatenate([middles - half, middles + half], axis=1), points[:, :5]


def find_faces(
    image: Image, *, min_confidence: float = THRESHOLDS.min_confidence, min_size_px: float = MIN_SIZE_PX
) -> tuple[Face, ...]:
    """Finds the faces of a photo, upright or tilted by up to about 45°, covered in part or not.

    Args:
        image: (H, W, 3) uint8 RGB. It is scanned in a copy of at most 1280 px.
        min_confidence: 0-1. A lower one finds more faces that hardly show, and more that are not faces.
        min_size_px: width of the smallest face wanted. In the copy it should be at least 16 to be found.

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


def _next_size(level: PillowImage.Image) -> tuple[int, int]:
    """Width and height of the copy that is scanned after this one."""
    return max(1, round(level.width / _SCAN_STEP)), max(1, round(level.height / _SCAN_STEP))


def _face(box: Points, landmarks: Points, confidence: float) -> Face:
    x1, y1, x2, y2 = box.tolist()
    return Face((x1, y1, x2, y2), landmarks, float(confidence))


def _area(face: Face) -> float:
    x1, y1, x2, y2 = face.box_px
    return (x2 - x1) * (y2 - y1)
