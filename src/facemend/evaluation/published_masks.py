"""The protocol `published-masks`, for which other systems publish scores.

The survey "From Pixels to Faces" and the papers of M2UNet, GANMasker and MuFIN put MaskTheFace's masks on
CelebA's pictures: the whole 178×218 frame, resized to 256×256. The user provides the templates.

facemend gets these pictures as a user would pass them: resized to CelebA's frame, as ready crops. What it
changes is put back into the 256×256 picture. Every other pixel stays.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from facemend.alignment import FRAME_HEIGHT_PX, FRAME_WIDTH_PX, Points
from facemend.datasets import FaceRecord, FaceSource, Split
from facemend.errors import PictureError, SourceError
from facemend.evaluation.protocol import Protocol, open_split
from facemend.evaluation.results import Published
from facemend.evaluation.systems import Delivery, Images, Masks, System
from facemend.files import parse_csv, read_named, seed_of
from facemend.images import Alpha, Image, resize
from facemend.io import read_cutout
from facemend.occlusion import Extent, OccludedFace, Occlusion, OcclusionClass
from facemend.reconstruction.blending import blend, resize_alpha
from facemend.reconstruction.reconstructor import Reconstructor

NAME = "published-masks"
KIND = "masktheface"
PICTURE_PX = 256
"""Side of the pictures, which show the whole frame, stretched to a square."""
PICTURES = 500
POINTS_FILE = "points.csv"

PUBLISHED = (
    Published("M2UNet", 31.33, 0.9577),
    Published("GANMasker", 30.78, 0.9518),
    Published("MuFIN", 29.88, 0.9481),
)

_TARGETS_PX: Points = np.array(
    [(47.0, 133.0), (88.0, 122.0), (129.0, 133.0), (55.0, 158.0), (88.0, 180.0), (121.0, 158.0)]
)
"""Targets of a template's points a to f in the frame: along the upper edge, then along the lower edge."""
_LEFT, _RIGHT, _CHIN = (0, 3), (2, 5), (3, 4, 5)
_POINT_PX, _SIDE_PX, _CHIN_PX = 1.5, 2.0, 3.0
_VERSION = 1  # version of how facemend gets the pictures; it is part of the cache key


@dataclass(frozen=True)
class Template:
    """One mask of MaskTheFace.

    Attributes:
        path: an RGBA picture.
        points_px: its six points a to f, x and y in pixels of the picture.
    """

    path: Path
    points_px: tuple[tuple[float, float], ...]


def open_templates(folder: Path) -> tuple[Template, ...]:
    """The templates of a folder, by their table points.csv: template, a_x_px, a_y_px … f_x_px, f_y_px.

    Raises:
        SourceError: no such table, a line that cannot be parsed, or a missing picture.
    """
    table = folder / POINTS_FILE
    try:
        _, rows = parse_csv(read_named(table))
        templates = tuple(
            Template(
                folder / row["template"],
                tuple((float(row[f"{point}_x_px"]), float(row[f"{point}_y_px"])) for point in "abcdef"),
            )
            for row in rows
        )
    except OSError as error:
        raise SourceError(f"{table} cannot be read; pass MaskTheFace's templates by --templates") from error
    except (KeyError, TypeError, ValueError) as error:
        raise SourceError(f"{table} has no line template, a_x_px, a_y_px … f_y_px: {error!r}") from error
    if any(row["template"] != Path(row["template"]).name for row in rows):
        raise SourceError(f"{table} names a template outside {folder}")
    missing = [template.path for template in templates if not template.path.is_file()]
    if missing or not templates:
        raise SourceError(f"{missing[0]} is missing" if missing else f"{table} names no template")
    return templates


def published_masks(folder: Path) -> Protocol:
    """The protocol, with the templates of a folder.

    Raises:
        SourceError: as `open_templates` does.
    """
    return Protocol(
        NAME,
        (KIND,),
        _choose_faces,
        read_frame,
        partial(_put_mask_on, open_templates(folder)),
        open_model=open_on_frames,
        baselines=("copy", "mean-colour", "telea", "navier-stokes"),
        canonical=False,
        published=PUBLISHED,
    )


def _choose_faces(sources: Sequence[str], split: Split, split_file: Path | None) -> FaceSource:
    """500 pictures of the split's people, chosen by a fixed seed, in its order."""
    faces = open_split(sources, split, split_file)
    ranked = sorted(faces.records, key=lambda record: seed_of(NAME, "pictures", record.name))
    return FaceSource(faces.name, ranked[:PICTURES], faces.read, faces.fingerprint)


def read_frame(source: FaceSource, record: FaceRecord) -> Image:
    """The whole 178×218 frame of a face as uint8 (256, 256, 3).

    Raises:
        PictureError: the picture has another shape.
    """
    frame = source.read(record.name)
    height, width = frame.shape[:2]
    if (width, height) != (FRAME_WIDTH_PX, FRAME_HEIGHT_PX):
        raise PictureError(
            f"{record.name} is {width}×{height}; {NAME} needs {FRAME_WIDTH_PX}×{FRAME_HEIGHT_PX} frames"
        )
    return resize(frame, PICTURE_PX, PICTURE_PX)


def _put_mask_on(
    templates: Sequence[Template], picture: Image, record: FaceRecord, kind: str
) -> OccludedFace:
    """A picture under one of the templates. Which one, and where, depends on the record's name alone."""
    seed = seed_of(NAME, record.name, kind)
    rng = np.random.default_rng(seed)
    template = templates[int(rng.integers(len(templates)))]
    scale = np.array([PICTURE_PX / FRAME_WIDTH_PX, PICTURE_PX / FRAME_HEIGHT_PX])
    targets_px = (_jitter(rng) + 0.5) * scale - 0.5
    paint, alpha = _warp(template, targets_px, PICTURE_PX)
    occlusion = Occlusion(
        kind, OcclusionClass.COVERS, Extent.PARTIAL, alpha, seed, {"template": template.path.name}
    )
    return OccludedFace(blend(picture, paint, alpha), picture, occlusion)


def _jitter(rng: np.random.Generator) -> Points:
    """The six targets in the frame, jittered: each point alone, then each side and the chin as a whole."""
    points = _TARGETS_PX + rng.normal(0, _POINT_PX, _TARGETS_PX.shape)
    for side in (_LEFT, _RIGHT):
        points[list(side), 0] += rng.normal(0, _SIDE_PX)
    points[list(_CHIN), 1] += rng.normal(0, _CHIN_PX)
    return points


def _warp(template: Template, targets_px: Points, side_px: int) -> tuple[Image, Alpha]:
    """Warps a template to its location.

    Args:
        targets_px: (6, 2), targets of its points a to f, in pixels of the result.

    Returns:
        Its colours, uint8 (S, S, 3), and its alpha, float32 (S, S), 0-1.
    """
    picture = _read(template.path)
    points_px = np.array(template.points_px)
    # Averaged down first: the warp reads single pixels of a picture that is three to six times too large.
    shrink = max(1, int(np.ptp(points_px[:, 0]) / np.ptp(targets_px[:, 0])))
    points_px = (points_px + 0.5) / shrink - 0.5
    to_template = homography(targets_px + 0.5, points_px + 0.5)  # Pillow measures from pixel corners
    warped = picture.reduce(shrink).transform(
        (side_px, side_px),
        PillowImage.Transform.PERSPECTIVE,
        to_template.ravel()[:8].tolist(),
        PillowImage.Resampling.BICUBIC,
    )
    levels = np.asarray(warped, dtype=np.float32)
    alpha = levels[..., 3] / np.float32(255)
    colours = levels[..., :3] / np.maximum(alpha, np.float32(1 / 255))[..., None]
    return np.rint(colours).clip(0, 255).astype(np.uint8), alpha


@lru_cache(maxsize=16)
def _read(path: Path) -> PillowImage.Image:
    """A template with its colours times alpha (RGBa), so that transparent pixels do not bleed in."""
    return read_cutout(path).convert("RGBa")


def homography(source: Points, target: Points) -> npt.NDArray[np.float64]:
    """The projective map from source to target points, by the direct linear transform.

    Hartley, Zisserman, "Multiple View Geometry in Computer Vision", 2004, algorithm 4.1, with both sets
    of points brought to mean 0 and size 1 first.

    Args:
        source, target: float64 (N, 2), N at least 4, not on one line.

    Returns:
        float64 (3, 3) with a last entry of 1: target ~ matrix @ (x, y, 1), in the least-squares sense.
    """
    into, back = _normalising(source), np.linalg.inv(_normalising(target))
    (x, y), (u, v) = _apply(into, source).T, _apply(np.linalg.inv(back), target).T
    zero, one = np.zeros_like(x), np.ones_like(x)
    rows = np.concatenate(
        [
            np.column_stack([x, y, one, zero, zero, zero, -u * x, -u * y, -u]),
            np.column_stack([zero, zero, zero, x, y, one, -v * x, -v * y, -v]),
        ]
    )
    matrix = back @ np.linalg.svd(rows)[2][-1].reshape(3, 3) @ into
    scaled: npt.NDArray[np.float64] = matrix / matrix[2, 2]
    return scaled


def _normalising(points: Points) -> npt.NDArray[np.float64]:
    mean, size = points.mean(axis=0), points.std()
    matrix: npt.NDArray[np.float64] = np.array([(1, 0, -mean[0]), (0, 1, -mean[1]), (0, 0, size)]) / size
    return matrix


def _apply(matrix: npt.NDArray[np.float64], points: Points) -> Points:
    mapped = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    divided: Points = mapped[:, :2] / mapped[:, 2:]
    return divided


def open_on_frames(path: Path, threads: int | None = None) -> System:
    """A facemend model file as a blind system for whole frames of 256×256 pixels.

    Each picture is resized to 178×218 and reconstructed as a ready crop, with the default options. What
    changed is resized to 256×256 and put back by its weight.

    Args:
        threads: of the processor. None for all cores.

    Raises:
        ModelError: not a facemend model.
    """
    reconstructor = Reconstructor(path, threads=threads)
    model = reconstructor.model
    people = model.description.training_people

    def deliver(images: Images, masks: Masks | None) -> Delivery:
        delivered, alphas = zip(*(_reconstruct(reconstructor, image) for image in images), strict=True)
        pictures = np.stack(delivered)
        return Delivery(pictures, pictures, np.stack(alphas) if model.description.finds_occlusion else None)

    return System(
        model.description.name,
        blind=True,
        deliver=deliver,
        repair=lambda images: deliver(images, None).composite,
        sha256=model.sha256,
        training_people=frozenset(people) if people else None,
        fingerprint=f"{model.sha256} {NAME} {_VERSION}",
        file=path,
    )


def _reconstruct(reconstructor: Reconstructor, picture: Image) -> tuple[Image, Alpha]:
    """A 256×256 picture of the whole frame without its occlusion, and the occlusion found."""
    height_px, width_px = picture.shape[:2]
    done = reconstructor(resize(picture, FRAME_WIDTH_PX, FRAME_HEIGHT_PX), aligned=True)
    weight = np.zeros((FRAME_HEIGHT_PX, FRAME_WIDTH_PX), dtype=np.float32)
    for face in done.faces:
        weight[face.box] = np.maximum(weight[face.box], face.weight)
    delivered = blend(
        picture, resize(done.array, width_px, height_px), resize_alpha(weight, width_px, height_px)
    )
    return delivered, resize_alpha(done.removed, width_px, height_px)
