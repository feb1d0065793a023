"""Reading and writing clips: what is kept, what is refused, and that no other sample changes."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facemend.errors import OutputError, PictureError, UsageError
from facemend.images import Image
from facemend.io import is_clip
from facemend.video.clips import (
    ClipReader,
    ClipWriter,
    Codec,
    change,
    check_output,
    default_codec,
    pixels_of,
    read_texts,
)
from tests.video_clips import planes_of, render, write_clip

av: Any = pytest.importorskip("av", reason="needs the extra video: pip install '.[video]'")


@pytest.fixture
def frames() -> list[Image]:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (6, 6, 8, 3), dtype=np.uint8)
    return [np.repeat(np.repeat(one, 8, axis=0), 8, axis=1) for one in coarse]


def _rewritten(
    source: Path, output: Path, codec: Codec = Codec.H264, *, lossless: bool = True
) -> ClipReader:
    with ClipReader(source) as reader:
        writer = ClipWriter(output, reader, codec, {"facemend": "{}"}, lossless=lossless)
        for frame in reader.frames(writer.copy):
            writer.write(frame)
        writer.close()
    return reader


def _times(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [float(frame.time) for frame in container.decode(video=0)]


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p", "yuvj420p", "yuv420p10le"])
def test_a_clip_written_without_loss_decodes_to_the_same_planes(
    tmp_path: Path, frames: list[Image], pix_fmt: str
) -> None:
    source = write_clip(tmp_path / "in.mkv", frames, pix_fmt=pix_fmt)
    _rewritten(source, tmp_path / "out.mkv")
    assert planes_of(tmp_path / "out.mkv") == planes_of(source)


def test_variable_rate_sound_chapters_texts_and_rotation_are_kept(
    tmp_path: Path, frames: list[Image]
) -> None:
    chapter = {
        "id": 1,
        "start": 0,
        "end": 200,
        "time_base": Fraction(1, 1000),
        "metadata": {"title": "one"},
    }
    source = write_clip(
        tmp_path / "in.mp4",
        frames,
        times=[0, 3000, 6100, 6900, 12000, 15000],
        time_base=Fraction(1, 90000),
        rotation=90,
        audio=True,
        texts={"title": "A clip", "com.apple.quicktime.make": "Somebody"},
        chapters=[chapter],
    )
    _rewritten(source, tmp_path / "out.mp4")
    assert _times(tmp_path / "out.mp4") == _times(source)
    with av.open(str(source)) as before, av.open(str(tmp_path / "out.mp4")) as after:
        assert after.streams.video[0].time_base == before.streams.video[0].time_base
        assert after.metadata["title"] == "A clip"
        assert after.metadata["com.apple.quicktime.make"] == "Somebody"
        assert after.metadata["facemend"] == "{}"
        assert [one["metadata"] for one in after.chapters()] == [{"title": "one"}]
        assert next(after.decode(video=0)).rotation == 90
    sound = []
    for path in (source, tmp_path / "out.mp4"):
        with av.open(str(path)) as container:
            sound.append([bytes(packet) for packet in container.demux(audio=0)])
    assert sound[0] == sound[1]
    assert len(sound[0]) > 1


def test_colour_is_kept(tmp_path: Path, frames: list[Image]) -> None:
    colours = {"color_range": 2, "colorspace": 1, "color_primaries": 1, "color_trc": 1}
    source = write_clip(tmp_path / "in.mp4", frames, colours=colours)
    _rewritten(source, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert {name: int(getattr(context, name)) for name in colours} == colours


def test_the_default_quality_is_not_seen(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4", render(4)[0])
    _rewritten(source, tmp_path / "out.mp4", lossless=False)
    for one, other in zip(planes_of(source), planes_of(tmp_path / "out.mp4"), strict=True):
        difference = np.frombuffer(one, np.uint8).astype(float) - np.frombuffer(other, np.uint8)
        assert np.sqrt((difference**2).mean()) < 2.55  # 40 dB, of a small and sharp picture


@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p", "yuv420p10le"])
def test_a_patch_changes_its_pixels_and_no_others(rotation: int, pix_fmt: str, tmp_path: Path) -> None:
    gray = [np.full((48, 64, 3), 90, np.uint8)]
    source = write_clip(
        tmp_path / "in.mkv" if not rotation else tmp_path / "in.mp4",
        gray,
        pix_fmt=pix_fmt,
        rotation=rotation,
    )
    with ClipReader(source) as reader:
        frame = next(reader.frames())
        before = _luma(frame)
        weight = np.zeros((13, 15), dtype=np.float32)
        weight[2:11, 3:13] = 1
        box = slice(5, 18), slice(7, 22)
        change(frame, [(box, np.full((13, 15, 3), (200, 40, 90), np.uint8), weight)])
        after, shown = _luma(frame), pixels_of(frame)
    changed = after != before
    assert changed.shape == shown.shape[:2] == ((48, 64) if rotation in (0, 180) else (64, 48))
    inside = np.zeros(changed.shape, dtype=bool)
    inside[7:16, 10:20] = True
    assert (changed == inside).all()
    assert np.abs(shown[10:13, 13:17].astype(int) - (200, 40, 90)).max() <= 4


def _luma(frame: Any) -> Any:
    """The frame's first plane, turned as it is displayed."""
    values = frame.to_ndarray()
    plane = values[0] if values.ndim == 3 and len(values) == 3 else values[: frame.height]
    return np.rot90(plane, round(frame.rotation / 90))


def test_a_patch_of_the_frame_itself_changes_next_to_nothing(tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(48), np.arange(64))[:, :, None] + np.array([20, 60, 100])
    source = write_clip(tmp_path / "in.mkv", [smooth.astype(np.uint8)], options={"qp": "0"})
    with ClipReader(source) as reader:
        frame = next(reader.frames())
        before = frame.to_ndarray().astype(int)
        pixels = pixels_of(frame)
        change(frame, [((slice(0, 48), slice(0, 64)), pixels, np.ones((48, 64), np.float32))])
        assert np.abs(frame.to_ndarray().astype(int) - before).max() <= 2


def _refused(path: Path) -> str:
    with pytest.raises(PictureError) as caught, ClipReader(path) as reader:
        list(reader.frames())
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_not_handled_is_refused_in_one_line(tmp_path: Path, frames: list[Image]) -> None:
    hdr = write_clip(tmp_path / "hdr.mkv", frames, colours={"color_trc": 16}, pix_fmt="yuv420p10le")
    assert "HDR (PQ)" in _refused(hdr)
    lines = write_clip(
        tmp_path / "lines.mkv", frames, options={"flags": "+ilme+ildct", "x264-params": "tff=1"}
    )
    assert "interlaced" in _refused(lines)
    deep = write_clip(tmp_path / "deep.mkv", frames, codec="ffv1", pix_fmt="yuv420p16le")
    assert "pixel format" in _refused(deep)
    (tmp_path / "text.mp4").write_text("no clip")
    assert "not a clip" in _refused(tmp_path / "text.mp4")
    assert "does not exist" in _refused(tmp_path / "none.mp4")


def test_a_photo_with_the_name_of_a_clip_is_refused(tmp_path: Path, frames: list[Image]) -> None:
    from PIL import Image as PillowImage

    PillowImage.fromarray(frames[0]).save(tmp_path / "photo.png")
    (tmp_path / "photo.png").rename(tmp_path / "photo.mp4")
    assert "a photo with the name of a clip" in _refused(tmp_path / "photo.mp4")


def test_one_frame_and_60_frames_a_second_and_another_suffix_are_clips(
    tmp_path: Path, frames: list[Image]
) -> None:
    still = write_clip(tmp_path / "still.mp4", frames[:1])
    fast = write_clip(tmp_path / "fast.mp4", frames, time_base=Fraction(1, 60))
    wrong = write_clip(tmp_path / "really.mkv", frames).rename(tmp_path / "wrong.mp4")
    for path, count in ((still, 1), (fast, 6), (wrong, 6)):
        output = path.with_name("out_" + path.name)
        _rewritten(path, output)
        assert len(planes_of(output)) == count
        assert _times(output) == pytest.approx(_times(path), abs=2e-3)


def test_a_truncated_clip_gives_what_can_be_decoded_and_says_so(
    tmp_path: Path, frames: list[Image]
) -> None:
    source = write_clip(tmp_path / "in.mp4", frames * 4, options={"movflags": "+faststart"})
    whole = write_clip(tmp_path / "in.mkv", frames * 4).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    with ClipReader(tmp_path / "cut.mkv") as reader:
        count = len(list(reader.frames()))
    assert 0 < count < 24
    (tmp_path / "cut.mp4").write_bytes(source.read_bytes()[: source.stat().st_size // 3])
    assert "not a clip that can be read" in _refused(tmp_path / "cut.mp4")


def test_an_odd_size_is_refused_where_the_codec_cannot_hold_it(tmp_path: Path) -> None:
    odd = [np.full((47, 63, 3), 90, np.uint8)] * 2
    source = write_clip(tmp_path / "odd.mkv", odd, codec="ffv1")
    with pytest.raises(OutputError, match="odd size; choose --codec vp9"):
        _rewritten(source, tmp_path / "out.mp4")
    _rewritten(source, tmp_path / "out.webm", Codec.VP9)
    with ClipReader(tmp_path / "out.webm") as reader:
        assert pixels_of(next(reader.frames())).shape == (47, 63, 3)


def test_a_suffix_says_which_codecs_it_holds() -> None:
    assert default_codec(Path("a.webm")) is Codec.VP9
    assert default_codec(Path("a.mp4")) is Codec.H264
    assert is_clip(Path("A.MOV"))
    assert not is_clip(Path("a.jpg"))
    with pytest.raises(UsageError, match="name the output"):
        check_output(Path("a.avi"), Codec.H264, lossless=False)
    with pytest.raises(UsageError, match="cannot hold ffv1"):
        check_output(Path("a.mp4"), Codec.FFV1, lossless=False)
    with pytest.raises(UsageError, match="without loss"):
        check_output(Path("a.mp4"), Codec.AV1, lossless=True)


def test_what_a_container_says_is_read(tmp_path: Path, frames: list[Image]) -> None:
    assert read_texts(write_clip(tmp_path / "in.mp4", frames, texts={"title": "x"}))["title"] == "x"


def test_an_output_that_cannot_be_written_is_an_error(tmp_path: Path, frames: list[Image]) -> None:
    source = write_clip(tmp_path / "in.mp4", frames)
    with pytest.raises(OutputError, match="cannot write"):
        _rewritten(source, tmp_path / "none" / "out.mp4")
