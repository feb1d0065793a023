"""Recall and landmarks of the face detector, with and without occlusions, against YuNet if it is there.

    python benchmarks/detection.py [--celeba SOURCE] [--faces 200]
        [--yunet FILE] [--photos FOLDER ...] [--portraits FOLDER]

Without options: the portraits that come with facemend. With CelebA: the first val frames, each once a
kind. Every face is pasted onto a seeded 640×480 canvas, scaled by 0.5 to 2 and turned by up to 30°. A
face counts as found when its eyes are within half an inter-ocular distance; errors are in inter-ocular
distances, over the faces found. `crop` is how far the corners and the middle of the canonical crop come
to lie from those of the true landmarks, `crop_trusted` the same after `trust_eyes`.

CelebA's landmarks beside the pictures may be a detector's own (YuNet's in the team's folder, found on
the upright frame without occlusion): that flatters this detector. In photos nobody knows the truth;
counted is what is found (IoU of at least 0.5) of the faces that YuNet is sure of (0.8) and that are 40 px
large (the root of the box's area), and how many boxes YuNet does not see even at 0.3: those are to be
looked at, one by one (`--sheet FILE` draws them). With portraits: each photo's surest face under every
kind, and YuNet is asked about the covered photo. Writes benchmarks/results/detection.json.
"""

import argparse
import json
import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as PillowImage

from facemend.alignment import FRAME_LANDMARKS_PX, Points, crop_face, frame_to_crop, similarity, trust_eyes
from facemend.datasets import Split, open_source, take_split
from facemend.detection import Detector, Face
from facemend.detection.detector import overlaps
from facemend.files import seed_of
from facemend.images import Image
from facemend.io import find_pictures, read_image
from facemend.occlusion import BENCHMARK_KINDS, occlude
from facemend.occlusion import KINDS as ALL_KINDS
from facemend.reconstruction.demo import read_portraits

Detect = Callable[[Image], tuple[Face, ...]]
Sample = tuple[str, str, Image, Points]
"""Name, kind, face picture, landmarks in it."""
Error = dict[str, float]
Rows = dict[str, dict[str, float]]

KINDS = ("none", "textured_mask", "nose_mask", "sunglasses")
_RESULT = Path(__file__).parent / "results" / "detection.json"
_WIDTH_PX, _HEIGHT_PX = 640, 480
_SURE, _LEAST, _SAME_FACE, _SEEN, _LARGE_PX = 0.8, 0.3, 0.5, 0.3, 40.0
_TILE_PX, _TILES_A_ROW = 160, 10
_CORNERS = np.array([(0, 20), (178, 20), (0, 198), (178, 198), (89, 109)], dtype=np.float64)


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--celeba", type=Path)
    parser.add_argument("--photos", type=Path, nargs="*", default=[])
    parser.add_argument("--portraits", type=Path)
    parser.add_argument("--yunet", type=Path)
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--faces", type=int, default=200)
    options = parser.parse_args()
    if (options.photos or options.portraits) and not options.yunet:
        parser.error("photos have no truth; add --yunet FILE to compare with")
    cv2.setNumThreads(1)
    detectors: dict[str, Detect] = {"ours": Detector(threads=1)}
    if options.yunet:
        detectors["yunet"] = open_yunet(options.yunet)
    samples = {"shipped_portraits": portraits()}
    if options.celeba:
        samples["celeba"] = celeba(options.celeba, options.faces)
    result = {name: measure(each, detectors) for name, each in samples.items()}
    if options.yunet:
        reference = open_yunet(options.yunet, _LEAST)
        sheet: list[Image] = []
        photos = {folder.name: read_photos(folder) for folder in options.photos}
        if options.portraits:
            photos |= {
                f"{options.portraits.name} {kind}": painted(options.portraits, kind, reference)
                for kind in ALL_KINDS
            }
        result |= {
            name: agreement(each, detectors["ours"], reference, sheet) for name, each in photos.items()
        }
        if options.sheet and sheet:
            draw_sheet(sheet, options.sheet)
    for name, rows in result.items():
        print(name, *(f"{row}: {figures}" for row, figures in rows.items()), sep="\n  ")
    _RESULT.parent.mkdir(exist_ok=True)
    _RESULT.write_text(json.dumps(result, indent=1) + "\n")


def open_yunet(path: Path, least: float = 0.6) -> Detect:
    """YuNet through OpenCV, at OpenCV's own threshold for it (0.6) or another."""
    network = cv2.FaceDetectorYN.create(str(path), "", (320, 320), least)

    def detect(image: Image) -> tuple[Face, ...]:
        network.setInputSize(image.shape[1::-1])
        rows = network.detect(np.ascontiguousarray(image[..., ::-1]))[1]
        return tuple(
            Face((x, y, x + w, y + h), np.array(rest[:10]).reshape(5, 2), min(rest[10], 1.0))
            for x, y, w, h, *rest in ([] if rows is None else rows.astype(np.float64).tolist())
        )

    return detect


def portraits() -> Iterator[Sample]:
    """The two portraits, ten times each under every kind."""
    for portrait in read_portraits():
        crop = crop_face(portrait.photo, portrait.landmarks_px)
        truth = frame_to_crop(FRAME_LANDMARKS_PX)
        back = similarity(portrait.landmarks_px, truth)
        landmarks = portrait.landmarks_px @ back[:, :2].T + back[:, 2]
        for number in range(10):
            name = f"{portrait.name} {number}"
            yield from (_sample(name, kind, crop.image, landmarks) for kind in KINDS)


def celeba(root: Path, count: int) -> Iterator[Sample]:
    """The first val frames of CelebA that have landmarks, under every kind."""
    source = take_split(open_source(root), Split.VAL).first(count)
    for record in source.records:
        if record.frame_landmarks_px is not None:
            frame = source.read(record.name)
            yield from (_sample(record.name, kind, frame, record.frame_landmarks_px) for kind in KINDS)


def _sample(name: str, kind: str, image: Image, landmarks: Points) -> Sample:
    if kind != "none":
        image = occlude(image, landmarks, kind, seed_of(0, name, kind), BENCHMARK_KINDS).image
    return name, kind, *on_canvas(image, landmarks, np.random.default_rng(seed_of("canvas", name)))


def on_canvas(image: Image, landmarks: Points, rng: np.random.Generator) -> tuple[Image, Points]:
    """A face picture somewhere on a blurred canvas, scaled and turned, and its landmarks there."""
    noise = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    canvas = PillowImage.fromarray(noise).resize((_WIDTH_PX, _HEIGHT_PX), PillowImage.Resampling.BICUBIC)
    # As large as CelebA's frame, then by 0.5 to 2.
    unit = 178 / image.shape[1]
    scale, angle = unit * 2 ** rng.uniform(-1, 1), math.radians(rng.uniform(-30, 30))
    turn = scale * np.array([(math.cos(angle), -math.sin(angle)), (math.sin(angle), math.cos(angle))])
    middle, margin = landmarks.mean(axis=0) + 0.5, 60 * scale / unit
    place = rng.uniform(margin, np.subtract((_WIDTH_PX, _HEIGHT_PX), margin))
    linear, shrink = np.linalg.inv(turn), max(1, round(1 / scale))
    coefficients = np.column_stack([linear, middle - linear @ place]) / shrink

    def warp(picture: PillowImage.Image) -> PillowImage.Image:
        return picture.reduce(shrink).transform(
            (_WIDTH_PX, _HEIGHT_PX),
            PillowImage.Transform.AFFINE,
            coefficients.ravel().tolist(),
            PillowImage.Resampling.BICUBIC,
        )

    inside = PillowImage.new("L", (image.shape[1], image.shape[0]), 255)
    canvas.paste(warp(PillowImage.fromarray(image)), (0, 0), warp(inside))
    return np.asarray(canvas, dtype=np.uint8), (landmarks + 0.5 - middle) @ turn.T + place - 0.5


def measure(samples: Iterable[Sample], detectors: Mapping[str, Detect]) -> Rows:
    """A row of mean figures a detector and kind, and for each detector its time and its false finds."""
    errors: dict[tuple[str, str], list[Error | None]] = defaultdict(list)
    seconds: dict[str, float] = defaultdict(float)
    others: Counter[str] = Counter()
    count = 0
    for _, kind, image, landmarks in samples:
        count += 1
        for name, detect in detectors.items():
            began = time.thread_time()
            faces = detect(image)
            seconds[name] += time.thread_time() - began
            error = error_of(faces, landmarks)
            errors[name, kind].append(error)
            others[name] += len(faces) - (error is not None)
    result = {f"{name} {kind}": _row(each) for (name, kind), each in errors.items()}
    for name in detectors:
        taken_ms = round(1000 * seconds[name] / count, 1)
        result[name] = {"pictures": count, "cpu_ms_a_picture": taken_ms, "other_finds": others[name]}
    return result


def error_of(faces: Iterable[Face], truth: Points) -> Error | None:
    """How far the face with the nearest eyes is from the truth; None if it is too far to be the one."""
    apart = float(np.hypot(*(truth[1] - truth[0])))
    errors = []
    for face in faces:
        points = np.hypot(*(face.landmarks_px - truth).T) / apart
        crops = [
            _crop_error(each, truth) / apart for each in (face.landmarks_px, trust_eyes(face.landmarks_px))
        ]
        errors.append(
            {
                "eyes": float(points[:2].mean()),
                "five": float(points.mean()),
                "crop": crops[0],
                "crop_trusted": crops[1],
            }
        )
    nearest = min(errors, key=lambda error: error["eyes"], default=None)
    return nearest if nearest and nearest["eyes"] < 0.5 else None


def _crop_error(landmarks: Points, truth: Points) -> float:
    difference = similarity(FRAME_LANDMARKS_PX, landmarks) - similarity(FRAME_LANDMARKS_PX, truth)
    moved = _CORNERS @ difference[:, :2].T + difference[:, 2]
    return float(np.sqrt((moved**2).sum(axis=1).mean()))


def _row(errors: list[Error | None]) -> Error:
    found = [error for error in errors if error is not None]
    means = {key: round(float(np.mean([e[key] for e in found])), 3) for key in (found[0] if found else ())}
    return {"recall": round(len(found) / len(errors), 3)} | means


def read_photos(folder: Path) -> Iterator[tuple[str, Image]]:
    """The photos of a folder, by name."""
    for path in find_pictures(folder, recursive=False):
        yield path.name, read_image(path)


def painted(folder: Path, kind: str, reference: Detect) -> Iterator[tuple[str, Image]]:
    """The photos of a folder in which the reference is sure of a face, that face covered."""
    for name, photo in read_photos(folder):
        sure = [face for face in reference(photo) if face.confidence >= _SURE]
        if sure:
            largest = max(sure, key=_root_px)
            yield name, occlude(photo, largest.landmarks_px, kind, seed_of(name, kind)).image


def agreement(
    photos: Iterable[tuple[str, Image]], detect: Detect, reference: Detect, sheet: list[Image]
) -> Rows:
    """What is found of the reference's sure faces; what it does not see is added to the sheet."""
    count = sure = found = unseen = 0
    for _, photo in photos:
        count += 1
        ours, theirs = detect(photo), reference(photo)
        boxes, known = (np.array([f.box_px for f in faces]).reshape(-1, 4) for faces in (ours, theirs))
        for face, box in zip(theirs, known, strict=True):
            if face.confidence >= _SURE and _root_px(face) >= _LARGE_PX:
                sure += 1
                found += bool(overlaps(box, boxes).max(initial=0) >= _SAME_FACE)
        for box in boxes:
            if overlaps(box, known).max(initial=0) < _SEEN:
                unseen += 1
                sheet.append(_tile(photo, box))
    return {"against yunet": {"photos": count, "sure": sure, "found": found, "unseen_by_yunet": unseen}}


def _root_px(face: Face) -> float:
    x1, y1, x2, y2 = face.box_px
    return math.sqrt((x2 - x1) * (y2 - y1))


def _tile(photo: Image, box: Points) -> Image:
    """A box in the middle of twice its size."""
    middle, half = (box[:2] + box[2:]) / 2, float((box[2:] - box[:2]).max())
    x1, y1, x2, y2 = np.rint([*(middle - half), *(middle + half)]).astype(int).tolist()
    tile = PillowImage.fromarray(photo).crop((x1, y1, x2, y2)).resize((_TILE_PX, _TILE_PX))
    return np.asarray(tile, dtype=np.uint8)


def draw_sheet(tiles: list[Image], path: Path) -> None:
    """All tiles on one picture."""
    rows = -(-len(tiles) // _TILES_A_ROW)
    sheet = PillowImage.new("RGB", (_TILES_A_ROW * _TILE_PX, rows * _TILE_PX))
    for number, tile in enumerate(tiles):
        row, column = divmod(number, _TILES_A_ROW)
        sheet.paste(PillowImage.fromarray(tile), (column * _TILE_PX, row * _TILE_PX))
    sheet.save(path)


if __name__ == "__main__":
    main()
