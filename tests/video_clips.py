"""Tiny clips that the tests write themselves, from rendered frames."""

import json
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from facemend.alignment import Points, View, canonical_landmarks, view_of
from facemend.images import Image
from facemend.io import read_image
from facemend.reconstruction.blending import blend
from tests.stand_in import COVER

SIZE_PX = (192, 176)


def portrait() -> tuple[Image, Points]:
    """Grace Hopper's, and her landmarks."""
    folder = Path(str(files("facemend"))) / "portraits"
    known = json.loads((folder / "portraits.json").read_text(encoding="utf-8"))[1]
    return read_image(folder / known["file"]), np.array(known["landmarks_px"])


def render(
    count: int, *, rng: np.random.Generator | None = None, light: float = 0.0, first: int = 0
) -> tuple[list[Image], list[Points]]:
    """Frames of the portrait, in which the camera pans, zooms and rolls, and the landmarks in each."""
    photo, landmarks_px = portrait()
    middle, frames, landmarks = landmarks_px.mean(axis=0), [], []
    for t in range(first, first + count):
        angle, scale = math.radians(4 * math.sin(t / 5)), 0.55 * (1 + 0.08 * math.sin(t / 6))
        place = np.array(SIZE_PX) / 2 + (12 * math.sin(t / 4), 10 + 8 * math.sin(t / 7))
        turn = np.array([(math.cos(angle), -math.sin(angle)), (math.sin(angle), math.cos(angle))])
        to_photo = np.column_stack([turn.T / scale, middle - turn.T @ place / scale])
        corner = to_photo[:, :2] @ (-0.5, -0.5) + to_photo[:, 2] + 0.5
        planes = [
            np.asarray(
                PillowImage.fromarray(photo[:, :, band].astype(np.float32)).transform(
                    SIZE_PX,
                    PillowImage.Transform.AFFINE,
                    np.column_stack([to_photo[:, :2], corner]).ravel().tolist(),
                    PillowImage.Resampling.BICUBIC,
                )
            )
            for band in range(3)
        ]
        seen = np.stack(planes, axis=2) * (1 + light * math.sin(t / 3))
        if rng is not None:
            seen = seen + rng.normal(0, 2, seen.shape)
        frames.append(np.rint(seen).clip(0, 255).astype(np.uint8))
        landmarks.append(scale * (landmarks_px - middle) @ turn.T + place)
    return frames, landmarks


def view_in(frame: Image, landmarks_px: Points) -> View:
    """The canonical crop of a face in a frame."""
    view = view_of(frame, landmarks_px, 256)
    assert view is not None
    return view


def covered(frames: Sequence[Image], landmarks: Sequence[Points]) -> list[Image]:
    """Frames with a cover in the stand-in model's colour over the mouth, which moves with the head."""
    x, y = canonical_landmarks()[3:].mean(axis=0)
    rows, columns = np.mgrid[:256, :256]
    cover = ((abs(columns - x) < 50) & (abs(rows - y) < 30)).astype(np.float32)
    results = []
    for frame, landmarks_px in zip(frames, landmarks, strict=True):
        view, result = view_in(frame, landmarks_px), frame.copy()
        weight = (view.put(cover) > 0.5).astype(np.float32)
        colour = np.broadcast_to(np.array(COVER, dtype=np.uint8), (*weight.shape, 3))
        result[view.box] = blend(frame[view.box], colour, weight)
        results.append(result)
    return results


def write_clip(
    path: Path,
    frames: Sequence[Image],
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    times: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 30),
    rotation: int = 0,
    audio: bool = False,
    texts: Mapping[str, str] | None = None,
    chapters: Sequence[Any] = (),
    colours: Mapping[str, int] | None = None,
    options: Mapping[str, str] | None = None,
) -> Path:
    """A clip of frames uint8 (H, W, 3).

    Args:
        times: when each is shown, in units of the time base (default: one after the other).
        colours: attributes of the codec's context.
    """
    import av

    movflags = {"movflags": "+use_metadata_tags"} if path.suffix in (".mp4", ".mov") else {}
    with av.open(str(path), "w", container_options=movflags) as out:
        stream: Any = out.add_stream(codec, rate=30, options=dict(options or {}))
        context = stream.codec_context
        context.height, context.width = frames[0].shape[:2]
        context.pix_fmt, context.time_base = pix_fmt, time_base
        stream.time_base = time_base
        for name, value in (colours or {}).items():
            setattr(context, name, value)
        if rotation:
            stream.set_display_rotation(rotation)
        sound: Any = (
            out.add_stream("aac" if path.suffix != ".webm" else "libopus", rate=48000) if audio else None
        )
        out.metadata.update(texts or {})
        if chapters:
            out.set_chapters(list(chapters))
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = (times[number] if times else number), time_base
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if sound is not None:
            silence = av.AudioFrame.from_ndarray(
                np.zeros((2, 4800), np.float32), format="fltp", layout="stereo"
            )
            silence.sample_rate, silence.pts = 48000, 0
            out.mux(sound.encode(silence))
            out.mux(sound.encode(None))
    return path


def planes_of(path: Path) -> list[bytes]:
    """The decoded planes of each frame, as they came from the decoder."""
    import av

    with av.open(str(path)) as container:
        return [frame.to_ndarray().tobytes() for frame in container.decode(video=0)]
