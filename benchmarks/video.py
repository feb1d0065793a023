"""What clips get: flicker, quality in the hole, speed and memory, frame by frame and followed.

    python benchmarks/video.py [--videos FOLDER] [--frames N] [--kinds nose_mask,blur_full] [--look FOLDER]
    python benchmarks/video.py --speed
    python benchmarks/video.py --memory

Clips are rendered from the two portraits that come with facemend: pan, zoom, roll, light and noise. Those
of a folder come on top. A cover is drawn once in canonical coordinates and moves with the head. Flicker is
the mean absolute change from frame to frame inside the hole, in canonical coordinates, over the truth's
own. `--speed` times a 720p clip, decode and encode with it. `--memory` measures the peak memory of small
clips of 300 and of 3,000 frames. Writes benchmarks/results/video.json.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from facemend.alignment import CROP_SIZE_PX, Points, View, crop_face, view_of
from facemend.detection import Detector, Face
from facemend.files import seed_of
from facemend.images import Image, Mask
from facemend.metrics.psnr import psnr
from facemend.occlusion import occlude
from facemend.reconstruction.blending import blend
from facemend.reconstruction.demo import read_portraits
from facemend.reconstruction.reconstructor import Reconstructor
from facemend.video.reconstructor import reconstruct_frames
from facemend.video.tracking import Tracker

_RESULT = Path(__file__).parent / "results" / "video.json"
_SIZE_PX = (480, 400)


@dataclass(frozen=True)
class Clip:
    """Frames uint8 (H, W, 3), and the landmarks (5, 2) of their one face."""

    name: str
    frames: Sequence[Image]
    landmarks_px: Sequence[Points]


@dataclass(frozen=True)
class CoveredClip:
    """What is put in, what should come out, and the hole (H, W) of each frame."""

    frames: Sequence[Image]
    truth: Sequence[Image]
    holes: Sequence[Mask]


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--videos", type=Path)
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--kinds", default="nose_mask,textured_mask,blur_full")
    parser.add_argument("--look", type=Path, help="write rows of frames at 100% into this folder")
    parser.add_argument("--only", default="", help="clips whose name holds this text")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--memory", action="store_true")
    options = parser.parse_args()
    before = json.loads(_RESULT.read_text()) if _RESULT.exists() else {}
    partly = options.speed or options.memory or options.only
    # Figures of quality are written whole, so that one state of the code made them all.
    kept = {name: before[name] for name in ("speed", "memory") if name in before}
    result = before if partly else kept
    reconstructor = Reconstructor(threads=1)
    if options.speed:
        result["speed"] = _measure(_SPEED_PX, _SPEED_FRAMES)
    elif options.memory:
        result["memory"] = _measure(_MEMORY_PX, _MEMORY_FRAMES)
    else:
        for clip in _clips(options.videos, options.frames):
            for kind in options.kinds.split(",") if options.only in clip.name else ():
                covered = cover(clip, kind)
                scores = _scores(clip, covered, reconstructor, kind, options.look)
                print(clip.name, kind, json.dumps(scores), flush=True)
                result[f"{clip.name} {kind}"] = scores
    _RESULT.write_text(json.dumps(result, indent=1) + "\n")


def _clips(folder: Path | None, count: int) -> Iterator[Clip]:
    for portrait in read_portraits():
        rng = np.random.default_rng(seed_of("clip", portrait.name))
        yield render(portrait.name, portrait.photo, portrait.landmarks_px, count, rng)
    for path in sorted(folder.glob("*.mp4")) if folder else ():
        yield _read(path, count)


def render(
    name: str,
    photo: Image,
    landmarks_px: Points,
    count: int,
    rng: np.random.Generator,
    size_px: tuple[int, int] = _SIZE_PX,
) -> Clip:
    """A clip of a portrait in which the camera pans, zooms and rolls, and light and noise change."""
    frames, landmarks = [], []
    middle = landmarks_px.mean(axis=0)
    zoom = 110 / float(np.hypot(*(landmarks_px[1] - landmarks_px[0])))
    for t in range(count):
        angle = math.radians(5 * math.sin(t / 11))
        scale = zoom * (1 + 0.08 * math.sin(t / 17))
        place = np.array(size_px) / 2 + (30 * math.sin(t / 9), 18 * math.sin(t / 13 + 1))
        turn = np.array([(math.cos(angle), -math.sin(angle)), (math.sin(angle), math.cos(angle))])
        to_photo = np.column_stack([turn.T / scale, middle - turn.T @ place / scale])
        corner = to_photo[:, :2] @ (-0.5, -0.5) + to_photo[:, 2] + 0.5
        coefficients = np.column_stack([to_photo[:, :2], corner]).ravel().tolist()
        planes = [
            PillowImage.fromarray(photo[:, :, band].astype(np.float32)).transform(
                size_px, PillowImage.Transform.AFFINE, coefficients, PillowImage.Resampling.BICUBIC
            )
            for band in range(3)
        ]
        seen = np.stack([np.asarray(plane) for plane in planes], axis=2) * (1 + 0.08 * math.sin(t / 7))
        seen += rng.normal(0, 2.5, seen.shape)
        frames.append(np.rint(seen).clip(0, 255).astype(np.uint8))
        landmarks.append(scale * (landmarks_px - middle) @ turn.T + place)
    return Clip(name, frames, landmarks)


def _read(path: Path, count: int) -> Clip:
    """The first frames of a clip whose face is uncovered, followed."""
    import av

    detector, found = Detector(threads=1), list[Face]()

    def detect_once(frame: Image) -> list[Face]:
        """Registered alone from then on, so that the crop never moves on the face."""
        if not found:
            found.extend(detector(frame))
            return found
        return []

    tracker = Tracker(detect_once)
    frames: list[Image] = []
    landmarks: list[Points] = []
    with av.open(str(path)) as container:
        for decoded in container.decode(video=0):
            frame = decoded.to_ndarray(format="rgb24").astype(np.uint8)
            faces = tracker(frame).faces
            if len(frames) == count or not faces or (frames and faces[0].moved is not None):
                break
            frames.append(frame)
            landmarks.append(faces[0].face.landmarks_px)
    return Clip(path.stem, frames, landmarks)


def cover(clip: Clip, kind: str) -> CoveredClip:
    """A clip under one cover, drawn in canonical coordinates with the same seed in each frame."""
    frames, truth, holes = [], [], []
    seed = seed_of("video", kind)
    for frame, landmarks_px in zip(clip.frames, clip.landmarks_px, strict=True):
        view = _view(frame, landmarks_px)
        hidden = occlude(view.crop.image, None, kind, seed)
        target = _put(frame, view, hidden.target, (hidden.target != view.crop.image).any(axis=2))
        touched = hidden.occlusion.alpha > 0
        frames.append(_put(target, view, hidden.image, touched))
        truth.append(target)
        hole = np.zeros(frame.shape[:2], dtype=np.bool_)
        hole[view.box] = view.put(touched.astype(np.float32)) > 0.5
        holes.append(hole)
    return CoveredClip(frames, truth, holes)


def _view(frame: Image, landmarks_px: Points) -> View:
    view = view_of(frame, landmarks_px, CROP_SIZE_PX)
    assert view is not None, "the face lies outside the frame"
    return view


def _put(frame: Image, view: View, crop: Image, touched: Mask) -> Image:
    """A crop put into its frame where it is touched."""
    result = frame.copy()
    weight = view.put(touched.astype(np.float32)).clip(0, 1)
    result[view.box] = blend(frame[view.box], view.put(crop), weight)
    return result


def _scores(
    clip: Clip, covered: CoveredClip, reconstructor: Reconstructor, kind: str, look: Path | None
) -> dict[str, dict[str, float]]:
    started = time.process_time()
    single = [reconstructor(frame).array for frame in covered.frames]
    single_s, started = time.process_time() - started, time.process_time()
    followed = [one.array for one in reconstruct_frames(covered.frames, reconstructor=reconstructor)]
    followed_s = time.process_time() - started
    if look is not None:
        _write_rows(look / f"{clip.name.replace(' ', '_')}_{kind}.png", clip, covered, single, followed)
    own = _change(covered.truth, covered, clip)
    scores = {}
    for name, frames, cpu_s in (("single", single, single_s), ("followed", followed, followed_s)):
        db = [
            psnr(frame, truth, hole)
            for frame, truth, hole in zip(frames, covered.truth, covered.holes, strict=True)
        ]
        scores[name] = {
            "flicker": round(_change(frames, covered, clip) / own, 3),
            "hole_db": round(float(np.mean([each for each in db if each is not None])), 2),
            "sharpness": round(_detail(frames, covered) / _detail(covered.truth, covered), 3),
            "cpu_ms_per_frame": round(1000 * cpu_s / len(frames), 1),
        }
    return scores


def _change(frames: Sequence[Image], covered: CoveredClip, clip: Clip) -> float:
    """The mean absolute change from one frame to the next inside the hole, in canonical coordinates."""
    changes, last = [], None
    for frame, hole, landmarks_px in zip(frames, covered.holes, clip.landmarks_px, strict=True):
        crop = crop_face(frame, landmarks_px).image.astype(np.float32)
        marked = np.repeat(hole[:, :, None].astype(np.uint8) * 255, 3, axis=2)
        inside = crop_face(marked, landmarks_px).image[:, :, 0] > 250
        if last is not None:
            changes.append(float(np.abs(crop - last)[inside].mean()))
        last = crop
    return float(np.mean(changes))


def _detail(frames: Sequence[Image], covered: CoveredClip) -> float:
    """The mean gradient inside the holes of every eighth frame."""
    found = []
    for frame, hole in list(zip(frames, covered.holes, strict=True))[::8]:
        dy, dx = np.gradient(frame.mean(axis=2))
        found.append(float(np.hypot(dx, dy)[hole].mean()))
    return float(np.mean(found))


def _write_rows(path: Path, clip: Clip, covered: CoveredClip, *rows: Sequence[Image]) -> None:
    """Six frames of each kind at 100%, cut around the face."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    first = len(clip.frames) // 2
    for frames in (covered.frames, *rows, covered.truth):
        parts = []
        for at in range(first, first + 6):
            y, x = (clip.landmarks_px[first].mean(axis=0)[::-1] - 120).clip(0).astype(int)
            parts.append(frames[at][y : y + 260, x : x + 240])
        lines.append(np.concatenate(parts, axis=1))
    PillowImage.fromarray(np.concatenate(lines, axis=0)).save(path)


_SPEED_PX, _SPEED_FRAMES = (1280, 720), (40, 160)
_MEMORY_PX, _MEMORY_FRAMES = (320, 240), (300, 3000)
_RUN = """
import json, resource, sys, time
import facemend
started = time.perf_counter()
done = facemend.reconstruct_video(sys.argv[1], sys.argv[2])
used = resource.getrusage(resource.RUSAGE_SELF)
wall_s, cpu_s = time.perf_counter() - started, used.ru_utime + used.ru_stime
print(json.dumps([done.frames, done.changed_frames, wall_s, cpu_s, used.ru_maxrss]))
"""


def _measure(size_px: tuple[int, int], counts: Sequence[int]) -> dict[str, dict[str, float]]:
    """Speed and peak memory over clips of one covered face, in a process of their own each."""
    portrait = read_portraits()[1]
    rng = np.random.default_rng(0)
    clip = render(portrait.name, portrait.photo, portrait.landmarks_px, _SPEED_FRAMES[0], rng, size_px)
    frames = cover(clip, "nose_mask").frames
    result = {}
    with tempfile.TemporaryDirectory() as folder:
        for count in counts:
            source, output = Path(folder, f"{count}.mp4"), Path(folder, f"{count}_out.mp4")
            _write(source, frames, count)
            command = [sys.executable, "-c", _RUN, str(source), str(output)]
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            done, changed, wall_s, cpu_s, kib = json.loads(said)
            result[f"{count} frames"] = {
                "changed_frames": changed,
                "frames_per_s": round(done / wall_s, 2),
                "cpu_ms_per_frame": round(1000 * cpu_s / done, 1),
                "peak_mib": round(kib / 1024),
            }
            print(count, result[f"{count} frames"], flush=True)
    return result


def _write(path: Path, frames: Sequence[Image], count: int) -> None:
    """A clip of frames that go to and fro."""
    import av

    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=30, options={"crf": "14", "preset": "veryfast"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for number in range(count):
            turn = number % (2 * len(frames) - 2)
            at = turn if turn < len(frames) else 2 * len(frames) - 2 - turn
            frame = av.VideoFrame.from_ndarray(frames[at], format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 30)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


if __name__ == "__main__":
    main()
