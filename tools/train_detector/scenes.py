"""Scenes that nobody photographed: CelebA's people, covered by our occlusions, anywhere in a picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from facemend.alignment import FRAME_HEIGHT_PX, FRAME_WIDTH_PX, Points, ValuesT
from facemend.datasets import FaceSource
from facemend.degradations import add_noise, coarsen, compress, tint
from facemend.images import Alpha, Image
from facemend.occlusion import choose_kind, occlude
from tools.train_detector.backgrounds import Backgrounds
from tools.train_detector.labels import LabelledFace
from tools.train_detector.targets import SceneFace

Field = npt.NDArray[np.float32]

_SHARES = {
    "nose_mask": 0.13, "textured_mask": 0.3, "balaclava": 0.03, "blur": 0.03, "blur_full": 0.04,
    "blur_soft": 0.03, "mask_full": 0.03, "pixelate": 0.04, "patch_full": 0.03, "sunglasses": 0.05,
    "object": 0.07,
}  # fmt: skip
_UNCOVERED = 0.3
_AT_HAND = 500  # faces; one is exchanged a scene
_SMALLEST_PX, _LARGEST_PX = 13.0, 1.15  # height of a face's box: pixels, share of the scene
_SEEN, _COUNTS = 0.25, 0.55  # how much of a face must show to be in question, and to be wanted
_MIRRORED = [1, 0, 2, 4, 3]
_MIDDLE = np.array([88.5, 118.0])  # of a head in the frame


@dataclass(frozen=True)
class _Portrait:
    """A face at hand: picture (218, 178, 3), where it is, and the alpha of what covers it."""

    image: Image
    box_px: Points
    landmarks_px: Points
    cover: Alpha | None


@dataclass(frozen=True)
class Scene:
    """A picture (side, side, 3), and the faces in it."""

    image: Image
    faces: list[SceneFace]


class Scenes:
    """Draws scenes, each from its own random numbers and the faces at hand."""

    def __init__(self, source: FaceSource, labels: Sequence[LabelledFace]) -> None:
        self._source, self._labels = source, labels
        self._portraits: list[_Portrait] = []
        self._background = Backgrounds(lambda rng: self._source.read(self._any_label(rng).name))

    def __call__(self, rng: np.random.Generator, side_px: int) -> Scene:
        """A scene of none to a dozen faces."""
        self._exchange(rng)
        image = self._background(rng, side_px)
        for _ in range(rng.poisson(0.7)):
            self._put_cover(rng, image)
        faces: list[SceneFace] = []
        shown = np.zeros(image.shape[:2], dtype=np.int16)  # whose pixel it is
        heights = _heights(rng, side_px)
        for number, height_px in enumerate(heights, 1):
            portrait = self._portraits[rng.integers(len(self._portraits))]
            to_scene = _place(rng, portrait, height_px, side_px)
            fills = number == 1 and height_px > 0.3 * side_px and rng.random() < 0.4
            whole = _paste(rng, image, shown, number, portrait, to_scene, fills=fills)
            faces.append(_face_in_scene(portrait, whole, counts=True))
        faces = [
            SceneFace(face.box_px, face.landmarks_px, visible > _COUNTS)
            for number, face in enumerate(faces, 1)
            if (visible := _visible(shown == number, face)) > _SEEN
        ]
        if rng.random() < 0.5:
            image, faces = _mirror(image, faces)
        return Scene(_capture(rng, image), faces)

    def _any_label(self, rng: np.random.Generator) -> LabelledFace:
        return self._labels[int(rng.integers(len(self._labels)))]

    def _exchange(self, rng: np.random.Generator) -> None:
        """A new face for one of those at hand; at first, for all."""
        missing = max(1, min(_AT_HAND, 60 if not self._portraits else 1))
        for _ in range(missing):
            portrait = self._portrait(rng)
            if len(self._portraits) < _AT_HAND:
                self._portraits.append(portrait)
            else:
                self._portraits[int(rng.integers(_AT_HAND))] = portrait

    def _portrait(self, rng: np.random.Generator) -> _Portrait:
        label = self._any_label(rng)
        frame = self._source.read(label.name)
        if rng.random() < _UNCOVERED:
            return _Portrait(frame, label.box_px, label.landmarks_px, None)
        drawn = occlude(frame, label.landmarks_px, choose_kind(_SHARES, rng), int(rng.integers(2**62)))
        return _Portrait(drawn.image, label.box_px, label.landmarks_px, drawn.occlusion.alpha)

    def _put_cover(self, rng: np.random.Generator, image: Image) -> None:
        """A cover without its face: masks, glasses and hands alone are no faces."""
        portrait = self._portraits[rng.integers(len(self._portraits))]
        if portrait.cover is None:
            return
        height_px = float(np.exp(rng.uniform(np.log(20), np.log(0.8 * len(image)))))
        to_scene = _place(rng, portrait, height_px, len(image))
        _blend_warped(image, portrait.image, portrait.cover, to_scene)


def _heights(rng: np.random.Generator, side_px: int) -> list[float]:
    """The heights of a scene's faces: nobody, one, some, or a crowd; the large ones first, behind."""
    kind = rng.random()
    if kind < 0.1:
        return []
    count, largest = 1, _LARGEST_PX * side_px
    if kind > 0.8:
        count, largest = int(rng.integers(5, 13)), 0.28 * side_px
    elif kind > 0.4:
        count, largest = int(rng.integers(2, 5)), 0.6 * side_px
    return sorted(np.exp(rng.uniform(np.log(_SMALLEST_PX), np.log(largest), count)).tolist(), reverse=True)


def _place(rng: np.random.Generator, portrait: _Portrait, height_px: float, side_px: int) -> Points:
    """A transform (2, 3) from the frame to a scene, for a face of about that height."""
    scale = height_px / float(portrait.box_px[3] - portrait.box_px[1])
    degrees = rng.normal(0, 12) if rng.random() < 0.65 else rng.uniform(-50, 50)
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    stretch = np.exp(rng.normal(0, 0.06))
    linear = scale * np.array([(cos, -sin), (sin, cos)]) @ np.diag([stretch, 1 / stretch])
    edge = min(0.25 * height_px, 0.3 * side_px)
    if height_px > 0.7 * side_px:
        edge = 0.35 * side_px
    middle = rng.uniform(edge, side_px - edge, 2)
    return np.column_stack([linear, middle - linear @ _MIDDLE])


def _paste(
    rng: np.random.Generator,
    image: Image,
    shown: npt.NDArray[np.int16],
    number: int,
    portrait: _Portrait,
    to_scene: Points,
    *,
    fills: bool,
) -> Points:
    """Puts a person into the scene: head alone, with what is around it, or as the whole background."""
    picture = portrait.image
    if rng.random() < 0.5:
        gains = rng.uniform(0.5, 1.25) * rng.uniform(0.88, 1.12, 3)
        picture = tint(picture, gains.astype(np.float32))
    side = image.shape[1::-1]
    if fills:
        border = cv2.BORDER_REPLICATE if rng.random() < 0.7 else cv2.BORDER_REFLECT_101
        if border == cv2.BORDER_REFLECT_101 and np.hypot(*to_scene[:, 0]) * 240 < max(side):
            border = cv2.BORDER_REPLICATE  # a small frame would show its face twice
        small, shrunk = _shrunk(picture, to_scene)
        image[:] = cv2.warpAffine(small, _cv(shrunk), side, flags=cv2.INTER_LINEAR, borderMode=border)
        alpha = _warped_alpha(np.ones((FRAME_HEIGHT_PX, FRAME_WIDTH_PX), dtype=np.float32), to_scene, side)
    else:
        alpha = _blend_warped(image, picture, _outline(rng), to_scene)
    shown[alpha > 0.5] = number
    return to_scene


def _outline(rng: np.random.Generator) -> Field:
    """How much of a frame is pasted, (218, 178), 0-1: most of it, or an oval around the head."""
    alpha = np.zeros((FRAME_HEIGHT_PX, FRAME_WIDTH_PX), dtype=np.float32)
    soft = float(rng.choice((0.8, 2, 5, 9)))
    if rng.random() < 0.4:
        left, top, right, bottom = (int(v) for v in rng.integers(1, 34, 4))
        alpha[top // 2 : FRAME_HEIGHT_PX - bottom, left : FRAME_WIDTH_PX - right] = 1
    else:
        across, along = rng.uniform(50, 76), rng.uniform(72, 100)
        middle = _MIDDLE + rng.normal(0, 4, 2) - (0, rng.uniform(4, 18))
        cv2.ellipse(alpha, (middle.tolist(), (2 * across, 2 * along), 0), 1.0, -1, cv2.LINE_AA)
        if rng.random() < 0.5:  # neck and shoulders
            alpha[170:, 40:140] = 1
        alpha[:, :2], alpha[:, -2:], alpha[:2], alpha[-2:] = 0, 0, 0, 0
    return np.asarray(cv2.GaussianBlur(alpha, (0, 0), soft), dtype=np.float32)


def _blend_warped(image: Image, picture: Image, alpha: Field, to_scene: Points) -> Field:
    """Paints a frame's picture onto the scene through alpha; returns the alpha in the scene."""
    side = image.shape[1::-1]
    weight = _warped_alpha(alpha, to_scene, side)
    small, shrunk = _shrunk(picture, to_scene)
    rows, columns = (np.flatnonzero(weight.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return weight
    top, left = int(rows[0]), int(columns[0])
    shrunk = shrunk - np.array([(0, 0, left), (0, 0, top)])
    size = int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top
    box = np.s_[top : top + size[1], left : left + size[0]]
    paint = cv2.warpAffine(
        small, _cv(shrunk), size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    below = image[box].astype(np.float32)
    image[box] = (below + weight[box][..., None] * (paint - below) + 0.5).astype(np.uint8)
    return weight


def _warped_alpha(alpha: Field, to_scene: Points, side: tuple[int, ...]) -> Field:
    small, shrunk = _shrunk(alpha, to_scene)
    warped = cv2.warpAffine(small, _cv(shrunk), (side[0], side[1]), flags=cv2.INTER_LINEAR)
    return np.asarray(warped, dtype=np.float32)


def _shrunk(values: ValuesT, to_scene: Points) -> tuple[ValuesT, Points]:
    """Values averaged over areas when they are to become much smaller, and the transform for them."""
    scale = float(np.hypot(*to_scene[:, 0]))
    if scale > 0.6:
        return values, to_scene
    height, width = (max(2, round(length * scale * 1.2)) for length in values.shape[:2])
    small: ValuesT = cv2.resize(values, (width, height), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    factors = np.array([values.shape[1] / width, values.shape[0] / height])
    linear = to_scene[:, :2] * factors
    offset = to_scene[:, 2] + to_scene[:, :2] @ (factors / 2 - 0.5)
    return small, np.column_stack([linear, offset])


def _cv(transform: Points) -> Points:
    return np.ascontiguousarray(transform, dtype=np.float64)


def _face_in_scene(portrait: _Portrait, to_scene: Points, *, counts: bool) -> SceneFace:
    """The face's place in the scene: of a turned face, the upright box around its turned oval."""
    linear = to_scene[:, :2]
    middle = linear @ ((portrait.box_px[:2] + portrait.box_px[2:]) / 2) + to_scene[:, 2]
    half = (portrait.box_px[2:] - portrait.box_px[:2]) / 2
    reach = np.hypot(linear[:, 0] * half[0], linear[:, 1] * half[1])
    landmarks = portrait.landmarks_px @ linear.T + to_scene[:, 2]
    return SceneFace(np.concatenate([middle - reach, middle + reach]), landmarks, counts)


def _visible(mine: npt.NDArray[np.bool_], face: SceneFace) -> float:
    """How much of a face's box is its own pixels in the scene, 0-1."""
    low, high = np.floor(face.box_px[:2]).astype(int), np.ceil(face.box_px[2:]).astype(int)
    seen = mine[max(0, low[1]) : max(0, high[1]), max(0, low[0]) : max(0, high[0])].sum()
    return float(seen) / float(np.prod(high - low))


def _mirror(image: Image, faces: list[SceneFace]) -> tuple[Image, list[SceneFace]]:
    width = image.shape[1]
    turned = []
    for face in faces:
        x1, y1, x2, y2 = face.box_px
        landmarks = face.landmarks_px[_MIRRORED] * (-1, 1) + (width - 1, 0)
        turned.append(SceneFace(np.array([width - x2, y1, width - x1, y2]), landmarks, face.counts))
    return np.ascontiguousarray(image[:, ::-1]), turned


def _capture(rng: np.random.Generator, image: Image) -> Image:
    """What a camera and a website do to a picture."""
    if rng.random() < 0.6:
        gains = np.exp(rng.normal(0, 0.25)) * np.exp(rng.normal(0, 0.06, 3))
        image = tint(image, gains.astype(np.float32))
    if rng.random() < 0.3:
        curve = (np.linspace(0, 1, 256) ** np.exp(rng.normal(0, 0.35)) * 255).astype(np.uint8)
        image = curve[image]
    if rng.random() < 0.08:
        image = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
    if rng.random() < 0.15:
        image = coarsen(image, float(rng.uniform(1.2, 2.5)))
    elif rng.random() < 0.1:
        blurred = cv2.blur(image, (int(rng.integers(1, 7)), int(rng.integers(1, 5))))
        image = np.asarray(blurred, dtype=np.uint8)
    if rng.random() < 0.25:
        image = add_noise(image, float(rng.uniform(2, 22)), rng)
    if rng.random() < 0.5:
        image = compress(image, int(rng.integers(35, 96)))
    return image
