"""Fits the table by which a face counts as covered: see `facemend.reconstruction.acceptance`.

    python tools/fit_acceptance.py --shared FOLDER [--model FILE] [--cache FILE] [--anew]

The examples are photos of which is known what covers the faces: photos as they are, out of focus, grey, noisy,
cut off and so on, where nothing may change, and the same photos with drawn covers and photos of people in
real masks. Every find of the detector is an example. It counts as covered if to reconstruct what the model finds
there would be right: if that agrees with the true cover. What is known of each is kept in the cache
file, so that another fit takes seconds. Photos that are for measuring only are not fitted to, but reported.
"""

import argparse
import csv
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL import ImageFilter

from facemend.capture import add_noise, compress
from facemend.faces import Detector, Face
from facemend.faces.detector import MIN_CONFIDENCE, MIN_SIZE_PX
from facemend.frame import Points
from facemend.images import PICTURE_SUFFIXES, Alpha, Image, read_image, resize
from facemend.occlusion import KINDS, OcclusionClass, occlude, seed_of
from facemend.reconstruction.acceptance import ACCEPTED, Evidence, evidence_of, found_in
from facemend.reconstruction.composite import THRESHOLD
from facemend.reconstruction.model import Model
from facemend.reconstruction.options import Remove
from facemend.reconstruction.view import view_of
from facemend.weights import shipped_model_path

COVERS = [name for name, kind in KINDS.items() if kind.occlusion_class is OcclusionClass.COVERS]
ACCESSORIES = [name for name in KINDS if name not in COVERS]
_LEAST = 0.55 * MIN_CONFIDENCE
_FACES, _KINDS = 300, 8  # frames, and covers a photo: all of them in ten minutes
_FOLDS, _RIDGE = 4, 1.0
_CAUTION = 3.0  # to change an uncovered face is worse than to leave a covered one
_RIGHT, _WRONG = 0.4, 0.1  # intersection over union of what is found and what covers


@dataclass(frozen=True)
class Photo:
    """A photo, and what is known of it.

    Attributes:
        source: which set it comes from.
        name: of the file that it was made from: what is fitted and what is checked share none.
        condition: what was done to the whole photo.
        kind: what covers a face, "none" or "real".
        image: uint8 (H, W, 3) RGB.
        truth: float32 (H, W), the cover; None where nobody knows.
        remove: which class is to be removed.
    """

    source: str
    name: str
    condition: str
    kind: str
    image: Image
    truth: Alpha | None
    remove: Remove = Remove.COVERS


def _filtered(image: Image, spectrum_of: npt.NDArray[np.float64]) -> Image:
    """A picture convolved with a small kernel (k, k), its border repeated."""
    reach = len(spectrum_of) // 2
    padded = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="edge").astype(np.float64)
    size = padded.shape[0] + 2 * reach, padded.shape[1] + 2 * reach
    spectrum = np.fft.rfft2(spectrum_of / spectrum_of.sum(), size)[:, :, None]
    full = np.fft.irfft2(np.fft.rfft2(padded, size, axes=(0, 1)) * spectrum, size, axes=(0, 1))
    height, width = image.shape[:2]
    return (
        np.rint(full[2 * reach : 2 * reach + height, 2 * reach : 2 * reach + width])
        .clip(0, 255)
        .astype(np.uint8)
    )


def _gaussian(image: Image, sigma_px: float) -> Image:
    return np.asarray(PillowImage.fromarray(image).filter(ImageFilter.GaussianBlur(sigma_px)))


def _disc(image: Image, radius_px: float) -> Image:
    reach = int(np.ceil(radius_px))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return _filtered(image, (radius_px + 0.5 - np.hypot(x, y)).clip(0, 1))


def _motion(image: Image, length_px: float, angle: float) -> Image:
    reach = int(np.ceil(length_px / 2))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    along, aside = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return _filtered(image, (1 - abs(aside)).clip(0) * (abs(along) <= length_px / 2))


def _grey(image: Image) -> Image:
    return np.asarray(PillowImage.fromarray(image).convert("L").convert("RGB"))


def _sepia(image: Image) -> Image:
    return (_grey(image) * np.array([1.0, 0.86, 0.66])).astype(np.uint8)


def _dark(image: Image, rng: np.random.Generator) -> Image:
    return add_noise((image * 0.25).astype(np.uint8), 6, rng)


Change = Callable[[Image, float, np.random.Generator], Image]
"""(photo, the face's width in px, rng) → photo of the same size."""
CONDITIONS: dict[str, Change] = {
    "as it is": lambda image, width_px, rng: image,
    **{f"gaussian {n}%": lambda i, w, rng, n=n: _gaussian(i, n / 100 * w) for n in (1, 2, 4)},
    **{f"disc {n}%": lambda i, w, rng, n=n: _disc(i, max(1.0, n / 100 * w)) for n in (1, 2, 4)},
    "grey": lambda image, width_px, rng: _grey(image),
    "sepia": lambda image, width_px, rng: _sepia(image),
    "noise": lambda image, width_px, rng: add_noise(image, 12, rng),
    "motion": lambda image, width_px, rng: _motion(image, 0.06 * width_px, rng.uniform(0, np.pi)),
    "jpeg 30": lambda image, width_px, rng: compress(image, 30),
    "dark": lambda image, width_px, rng: _dark(image, rng),
}
CUTS = ("cut left", "cut top", "cut bottom")


def _cut(image: Image, face: Face, where: str, rng: np.random.Generator) -> Image:
    """A photo that ends 20-60% into the box of a face."""
    x1, y1, x2, y2 = face.box_px
    share = rng.uniform(0.2, 0.6)
    if where == "cut left":
        return image[:, max(0, round(x1 + share * (x2 - x1))) :].copy()
    if where == "cut top":
        return image[max(0, round(y1 + share * (y2 - y1))) :].copy()
    return image[: round(y2 - share * (y2 - y1))].copy()


def examples(shared: Path, detect: Detector) -> Iterator[Photo]:
    """All photos, made one after the other, in a seeded order."""
    files = [
        (s, path.name)
        for s in ("portraits", "photos", "real-masks", "scenes")
        for path in _pictures(shared / s)
    ]
    with (shared / "faces" / "faces.csv").open() as file:
        rows = [
            row for row in csv.DictReader(file) if row["use"] == "train" and float(row["coverage178"]) > 0.7
        ]
    chosen = np.random.default_rng(0).permutation(len(rows))[:_FACES]
    files += [("faces/images", rows[place]["file"]) for place in chosen]
    files += [("real-masked/images", path.name) for path in _pictures(shared / "real-masked" / "images")]
    for place in np.random.default_rng(1).permutation(len(files)):
        source, name = files[place]
        image = read_image(shared / source / name)
        if source in ("portraits", "photos"):
            yield from _of_photo(source, name, image, detect)
        elif source == "faces/images":
            yield from _of_frame(source, name, image, detect)
        else:
            yield Photo(source, name, "as it is", "real", image, None)


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix in PICTURE_SUFFIXES)


def _surest(image: Image, detect: Detector) -> Face | None:
    return max(detect(image, min_confidence=0.5), key=lambda face: face.confidence, default=None)


def _scaled_to(image: Image, face: Face, width_px: float) -> Image:
    """A photo shrunk so that its face is so wide; never enlarged."""
    share = min(1.0, width_px / (face.box_px[2] - face.box_px[0]))
    return resize(image, *(max(1, round(side * share)) for side in image.shape[1::-1]))


def _of_photo(source: str, name: str, image: Image, detect: Detector) -> Iterator[Photo]:
    rng = np.random.default_rng(seed_of("acceptance", source, name))
    face = _surest(image, detect)
    if face is None:
        yield _uncovered(source, name, "as it is", image)
        return
    image = _scaled_to(image, face, 260)
    face = _surest(image, detect) or face
    for condition, change in CONDITIONS.items():
        yield _uncovered(source, name, condition, change(image, face.box_px[2] - face.box_px[0], rng))
    for where in CUTS:
        yield _uncovered(source, name, where, _cut(image, face, where, rng))
    for width_px in (40, 80):
        yield _uncovered(source, name, f"{width_px} px", _scaled_to(image, face, width_px))
    for kind in rng.choice(list(KINDS), _KINDS, replace=False).tolist():
        yield from _covered(source, name, image, face, kind, detect, rng)


def _of_frame(source: str, name: str, image: Image, detect: Detector) -> Iterator[Photo]:
    """A frame as a photo: once uncovered as it is, once under a condition, once covered."""
    rng = np.random.default_rng(seed_of("acceptance", source, name))
    face = _surest(image, detect)
    if face is None:
        return
    image = _scaled_to(image, face, rng.uniform(40, 110))
    face = _surest(image, detect) or face
    yield _uncovered(source, name, "as it is", image)
    condition = str(rng.choice(list(CONDITIONS)))
    yield _uncovered(
        source, name, condition, CONDITIONS[condition](image, face.box_px[2] - face.box_px[0], rng)
    )
    yield from _covered(source, name, image, face, str(rng.choice(list(KINDS))), detect, rng)


def _uncovered(source: str, name: str, condition: str, image: Image) -> Photo:
    return Photo(source, name, condition, "none", image, np.zeros(image.shape[:2], dtype=np.float32))


def _covered(
    source: str, name: str, image: Image, face: Face, kind: str, detect: Detector, rng: np.random.Generator
) -> Iterator[Photo]:
    """A photo with a drawn cover, at another size, in one case of three under a condition.

    Accessories stay when covers are asked for, and go when all is.
    """
    if rng.random() < 0.6 and source != "faces/images":
        image = _scaled_to(image, face, float(np.exp(rng.uniform(np.log(40), np.log(250)))))
        face = _surest(image, detect) or face
    hidden = occlude(image, face.landmarks_px, kind, int(rng.integers(2**60)))
    condition = "as it is" if rng.random() < 0.67 else str(rng.choice(list(CONDITIONS)))
    covered = CONDITIONS[condition](hidden.image, face.box_px[2] - face.box_px[0], rng)
    if kind in COVERS:
        yield Photo(source, name, condition, kind, covered, hidden.occlusion.alpha)
        return
    yield Photo(source, name, condition, f"{kind} stays", covered, np.zeros_like(hidden.occlusion.alpha))
    yield Photo(source, name, condition, f"{kind} goes", covered, hidden.occlusion.alpha, Remove.ALL)


def finds_of(photo: Photo, detect: Detector, model: Model) -> list[dict[str, object]]:
    """What is known of each find of the detector in which the model finds something to remove."""
    faces = [
        f for f in detect(photo.image, min_confidence=_LEAST) if f.box_px[2] - f.box_px[0] >= MIN_SIZE_PX
    ]
    surest = max((face.confidence for face in faces), default=0.0)
    finds: list[dict[str, object]] = []
    for face in faces:
        view = view_of(photo.image, face, model.description.size_px)
        if view is None:
            continue
        crop = view.crop.image
        wanted = found_in(crop, model(crop[None]), photo.remove, THRESHOLD)
        evidence = evidence_of(photo.image, view, wanted, THRESHOLD, face.confidence, surest)
        if evidence is None:
            continue
        agrees = None
        if photo.truth is not None:
            found = view.put(wanted) > THRESHOLD
            true = photo.truth > 0.5
            both = int((found & true[view.box]).sum())
            agrees = both / max(1, int(found.sum()) + int(true.sum()) - both)
        finds.append(
            {"evidence": asdict(evidence), "agrees": agrees, "box": [round(v) for v in face.box_px]}
        )
    return finds


def collect(shared: Path, model_path: Path, cache: Path) -> None:
    """Puts every photo with its finds into the cache, a line each."""
    detect, model = Detector(threads=1), Model(model_path, threads=1)
    cache.parent.mkdir(parents=True, exist_ok=True)
    partial = cache.with_suffix(".partial")
    with partial.open("w") as file:
        for number, photo in enumerate(examples(shared, detect), 1):
            row = {
                "source": photo.source, "name": photo.name, "condition": photo.condition, "kind": photo.kind,
                "covered": photo.truth is None or bool(photo.truth.any()),
                "finds": finds_of(photo, detect, model),
            }  # fmt: skip
            file.write(json.dumps(row) + "\n")
            if number % 250 == 0:
                print(f"{number} photos", flush=True)
    partial.replace(cache)


@dataclass(frozen=True)
class Table:
    """What is fitted: an intercept and a weight for each kind of evidence."""

    intercept: float
    weights: Points

    def probabilities(self, rows: Points) -> Points:
        """Of rows of evidence (N, K): (N,)."""
        return 1 / (1 + np.exp(-(self.intercept + rows @ self.weights).clip(-50, 50)))


def fit(rows: Points, covered: Points, weights: Points) -> Table:
    """Logistic regression by Newton's method, with a small ridge on standardised evidence.

    Args:
        rows: (N, K).
        covered: (N,), 0 or 1.
        weights: (N,) of the examples.
    """
    mean, spread = rows.mean(axis=0), rows.std(axis=0) + 1e-9
    design = np.column_stack([np.ones(len(rows)), (rows - mean) / spread])
    ridge = np.diag([0.0] + [_RIDGE] * rows.shape[1])
    beta = np.zeros(design.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-(design @ beta).clip(-30, 30)))
        gradient = design.T @ (weights * (p - covered)) + ridge @ beta
        hessian = (design * (weights * np.maximum(p * (1 - p), 1e-6))[:, None]).T @ design + ridge
        step = np.linalg.solve(hessian, gradient)
        beta -= step * min(1.0, 3 / np.abs(step).max())
    slopes = beta[1:] / spread
    return Table(float(beta[0] - slopes @ mean), slopes)


@dataclass(frozen=True)
class Find:
    """A find of the detector, as the fit sees it. `covered` is None where nobody knows."""

    photo: int
    evidence: Points
    covered: bool | None


def read_cache(cache: Path) -> tuple[list[dict[str, Any]], list[Find]]:
    """The photos, and all finds in them."""
    photos: list[dict[str, Any]] = [json.loads(line) for line in cache.read_text().splitlines()]
    finds = []
    for number, photo in enumerate(photos):
        surest = max((find["evidence"]["confidence"] for find in photo["finds"]), default=0)
        for find in photo["finds"]:
            row = np.array([find["evidence"][field.name] for field in fields(Evidence)])
            if find["agrees"] is not None:
                agrees = find["agrees"]
                covered = True if agrees >= _RIGHT else False if agrees < _WRONG else None
            elif photo["source"] != "real-masked/images":
                covered = None
            else:
                # One person each: the surest find is the face, another one is none.
                first = find["evidence"]["confidence"] == surest
                covered = (True if find["evidence"]["mouth"] > 0.5 else None) if first else False
            finds.append(Find(number, row, covered))
    return photos, finds


def report(photos: list[dict[str, Any]], finds: list[Find], probability: Points) -> None:
    """Prints calibration, harm by condition, and what is found by set and by kind."""
    known = np.array([find.covered is not None for find in finds])
    covered = np.array([bool(find.covered) for find in finds])
    print("probability   finds  covered")
    for low in np.arange(0, 1, 0.1):
        inside = known & (probability >= low) & (probability < low + 0.1 + 1e-9)
        share = covered[inside].mean() if inside.any() else float("nan")
        print(f"{low:.1f} to {low + 0.1:.1f}  {inside.sum():6}  {share:.3f}")
    accepted: dict[int, list[Find]] = defaultdict(list)
    for find, p in zip(finds, probability, strict=True):
        if p >= ACCEPTED:
            accepted[find.photo].append(find)
    harm, found = defaultdict(list), defaultdict(list)
    for number, photo in enumerate(photos):
        if not photo["covered"]:
            condition = photo["condition"] if photo["kind"] == "none" else photo["kind"]
            harm[condition].append(bool(accepted[number]))
            continue
        right = [find for find in accepted[number] if find.covered is not False]
        wrong = [find for find in accepted[number] if find.covered is False]
        found[photo["source"], photo["kind"]].append(bool(right))
        harm["a face beside, or a wrong place"].append(bool(wrong))
    print("\nchanged, though nothing covers")
    for condition, changed in sorted(harm.items()):
        print(f"{condition:32} {sum(changed):4} of {len(changed):4}  {np.mean(changed):6.1%}")
    print("\nfound and changed")
    for key, changed in sorted(found.items()):
        print(f"{' '.join(key):44} {sum(changed):4} of {len(changed):4}  {np.mean(changed):6.1%}")


def main() -> None:
    """Collects, fits, reports and prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--shared", type=Path, required=True, help="the folder with the photos")
    parser.add_argument("--model", type=Path, default=shipped_model_path())
    parser.add_argument("--cache", type=Path, required=True, help="what is known of each find")
    parser.add_argument("--anew", action="store_true", help="collect again: for another model")
    options = parser.parse_args()
    if options.anew or not options.cache.exists():
        collect(options.shared, options.model, options.cache)
    photos, finds = read_cache(options.cache)
    rows = np.stack([find.evidence for find in finds])
    known = np.array([find.covered is not None for find in finds])
    covered = np.array([float(bool(find.covered)) for find in finds])
    fold = np.array(
        [seed_of(photos[find.photo]["source"], photos[find.photo]["name"]) % _FOLDS for find in finds]
    )
    weights = np.where(covered == 1, 1.0, _CAUTION)
    apart = np.zeros(len(finds))
    for part in range(_FOLDS):
        fitted = known & (fold != part)
        table = fit(rows[fitted], covered[fitted], weights[fitted])
        apart[fold == part] = table.probabilities(rows[fold == part])
    table = fit(rows[known], covered[known], weights[known])
    print(f"{len(photos)} photos, {known.sum()} finds of which is known what they are\n")
    print("Photos that the table was not fitted to")
    report(photos, finds, apart)
    print("\nThe same photos that it was fitted to")
    report(photos, finds, table.probabilities(rows))
    print(f"\nINTERCEPT = {table.intercept:.2f}\nWEIGHTS = {{")
    for field, weight in zip(fields(Evidence), table.weights, strict=True):
        print(f'    "{field.name}": {weight:.2f},')
    print("}")


if __name__ == "__main__":
    main()
