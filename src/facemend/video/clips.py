"""Clips as files: frames decoded one by one, changed where they are covered, and encoded again.

Nothing but the picture is decoded. Sound, subtitles, chapters and metadata are copied. A frame is changed
in the decoder's own planes: where a patch has no weight, the encoder gets the decoder's bytes. PyAV
(FFmpeg) reads and writes, and comes with the extra `video`.
"""

from __future__ import annotations

import os
import queue
import stat
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from facemend.errors import FacemendError, OutputError, PictureError, UsageError, reason_of
from facemend.files import open_named
from facemend.images import Alpha, Image
from facemend.io import START_LENGTH, format_of
from facemend.io.limits import CostlyFile, refuse_costly_clip

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

Packet: TypeAlias = Any
"""PyAV's. Its type says which kind of stream it belongs to, and here it may be any."""
SUFFIXES: Final = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm"})
"""Of the clips that are written, in lower case. Others become MP4."""
KEY = "facemend"
"""Of the container's metadata: the provenance, as JSON."""


class Codec(StrEnum):
    """How a clip is encoded."""

    H264 = "h264"
    H265 = "h265"
    VP9 = "vp9"
    AV1 = "av1"
    FFV1 = "ffv1"


@dataclass(frozen=True)
class _Encoder:
    name: str
    quality: Mapping[str, str]
    lossless: Mapping[str, str] | None


ENCODERS: Final[Mapping[Codec, _Encoder]] = {
    Codec.H264: _Encoder("libx264", {"crf": "14", "preset": "veryfast"}, {"qp": "0", "preset": "veryfast"}),
    Codec.H265: _Encoder(
        "libx265",
        {"crf": "18", "preset": "fast", "x265-params": "log-level=error"},
        {"preset": "fast", "x265-params": "lossless=1:log-level=error"},
    ),
    Codec.VP9: _Encoder(
        "libvpx-vp9",
        {"crf": "20", "b": "0", "cpu-used": "4", "row-mt": "1"},
        {"lossless": "1", "cpu-used": "4", "row-mt": "1"},
    ),
    Codec.AV1: _Encoder(
        "libsvtav1", {"crf": "20", "preset": "8", "svtav1-params": "enable-stat-report=0"}, None
    ),
    Codec.FFV1: _Encoder("ffv1", {"level": "3"}, {"level": "3"}),
}
"""The quality of each codec: chosen so that no difference is seen, and stated in docs/video.md."""
_CONTAINERS: Mapping[str, Sequence[Codec]] = {
    ".mp4": (Codec.H264, Codec.H265, Codec.VP9, Codec.AV1),
    ".m4v": (Codec.H264, Codec.H265),
    ".mov": (Codec.H264, Codec.H265),
    ".mkv": tuple(Codec),
    ".webm": (Codec.VP9, Codec.AV1),
}
_READ_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,asf,flv"
"""Containers that are opened. Others name further files or addresses (concat, HLS, DASH), or are no
clips."""
_READ_CODECS = frozenset(
    {
        "h264", "hevc", "vp8", "vp9", "libvpx-vp9", "av1", "libdav1d", "mpeg4", "msmpeg4v2", "msmpeg4",
        "h263", "flv", "mpeg1video", "mpeg2video", "wmv1", "wmv2", "wmv3", "vc1", "mjpeg", "prores",
        "dnxhd", "ffv1", "theora",
    }
)  # fmt: skip
"""Decoders of pictures that are used, by FFmpeg's names: those of cameras, phones, editors and the web."""
_MOST_PIXELS: Final = 36_000_000
"""Of a frame: 8K. Some fifteen frames are in memory at a time."""
_MOST_EARLY_BYTES: Final = 256 << 20
"""Of sound and the like that stands before the first frame."""
_PACKAGE = "clips need one more package: pip install 'facemend[video]'"
_HDR = {16: "PQ", 18: "HLG"}  # transfer characteristics of ITU-T H.273
_FULL_RANGE, _UNSPECIFIED, _RGB = 2, 2, 0
_MATRICES = {
    1: (0.2126, 0.0722),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
"""Red's and blue's shares of luma, by the matrix coefficients of ITU-T H.273."""
_HD_PX = 720
"""Height from which a clip that names no colour matrix is taken for BT.709; a lower one for BT.601."""
_SQUARE = 0.02
_OF_THE_FILE = frozenset({"major_brand", "minor_version", "compatible_brands", "encoder"})
"""Texts that describe the input's container, which is written anew."""


@dataclass(frozen=True)
class _Format:
    """Planes of a pixel format: chroma's shrinking in x and y, bits, full range, and whether it is GBR."""

    across: int
    down: int
    bits: int = 8
    full: bool = False
    gbr: bool = False


_FORMATS: Mapping[str, _Format] = {
    "yuv420p": _Format(2, 2),
    "yuv422p": _Format(2, 1),
    "yuv444p": _Format(1, 1),
    "yuvj420p": _Format(2, 2, full=True),
    "yuvj422p": _Format(2, 1, full=True),
    "yuvj444p": _Format(1, 1, full=True),
    "yuv420p10le": _Format(2, 2, 10),
    "yuv422p10le": _Format(2, 1, 10),
    "yuv444p10le": _Format(1, 1, 10),
    "gbrp": _Format(1, 1, full=True, gbr=True),
}


def default_codec(path: Path) -> Codec:
    """The codec for an output that names none: VP9 in WebM, else H.264."""
    return Codec.VP9 if path.suffix.lower() == ".webm" else Codec.H264


def check_output(path: Path, codec: Codec, *, lossless: bool) -> None:
    """Raises UsageError: the suffix is none that is written, or cannot hold the codec, or nothing can be
    lossless with it."""
    held = _CONTAINERS.get(path.suffix.lower())
    if held is None:
        raise UsageError(
            f"clips are written as MP4, MOV, MKV and WebM; name the output {path.with_suffix('.mp4')}"
        )
    if codec not in held:
        raise UsageError(
            f"{path} cannot hold {codec}; choose --codec {' or '.join(held)}, or name the output "
            f"{path.with_suffix('.mkv')}"
        )
    if lossless and ENCODERS[codec].lossless is None:
        raise UsageError(
            f"{codec} cannot be written without loss here; choose --codec ffv1, h264, h265 or vp9"
        )


class ClipReader:
    """A clip that is open for reading.

    Attributes:
        path: the file.
        frames_expected: how many frames it has, as far as it says so. None if it does not.
        damaged: what was wrong with the part that was read, in words, or None.
        file_mode: the permissions of the file. What is made of it is as private.
    """

    def __init__(self, path: Path) -> None:
        """Opens a clip.

        Raises:
            PictureError: it is not a clip that can be read, or of a kind that is not handled.
            FacemendError: the extra `video` is not installed.
        """
        self._av = _import_av()
        self.path = path
        self.damaged: str | None = None
        self.file_mode = _checked(path)
        # With `file:`, no name is taken for an address.
        lists = {"format_whitelist": _READ_FORMATS, "protocol_whitelist": "file"}
        try:
            self.container: Any = self._av.open(f"file:{path}", options=lists, metadata_errors="replace")
        except (self._av.FFmpegError, OSError, ValueError) as error:
            raise PictureError(f"{path} is not a clip that can be read: {reason_of(error)}") from error
        try:
            self.stream = self._picture_stream()
            self._check()
        except BaseException:
            self.container.close()
            raise

    def __enter__(self) -> ClipReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.container.close()

    @property
    def rate(self) -> Fraction:
        """Frames per second, on average."""
        return self.stream.average_rate or self.stream.guessed_rate or Fraction(25)

    @property
    def frames_expected(self) -> int | None:
        """How many frames the clip has, as far as it says so."""
        if self.stream.frames:
            return int(self.stream.frames)
        duration = self.container.duration
        return round(duration / 1e6 * self.rate) if duration else None

    def frames(self, copy: Callable[[Packet], None] | None = None) -> Iterator[VideoFrame]:
        """The frames, decoded, in the order in which they are shown.

        Args:
            copy: gets every packet of the other streams.

        Raises:
            PictureError: a frame of a kind that is not handled, or no frame at all.
        """
        count = 0
        last: tuple[int, int, str] | None = None
        for frame in self._decoded(copy):
            if frame.interlaced_frame:
                raise PictureError(f"{self.path} is interlaced; deinterlace it first")
            kind = frame.width, frame.height, frame.format.name
            if last is not None and kind != last:
                raise PictureError(f"{self.path} changes its size or pixel format; cut it there first")
            last, count = kind, count + 1
            yield frame
        if not count:
            raise PictureError(f"{self.path} holds no frame that can be decoded")
        if self.stream.frames and count < self.stream.frames and self.damaged is None:
            self.damaged = f"it ends after {count} of {self.stream.frames} frames"

    def _decoded(self, copy: Callable[[Packet], None] | None) -> Iterator[VideoFrame]:
        packets = self.container.demux()
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except self._av.FFmpegError as error:
                self.damaged = f"it cannot be read to its end ({reason_of(error)})"
                packet = None
            if packet is not None and packet.stream is not self.stream:
                if copy is not None and packet.dts is not None:
                    copy(packet)
                continue
            try:
                yield from self.stream.decode(packet)
            except self._av.EOFError:
                return
            except self._av.FFmpegError as error:
                self.damaged = f"a part of it cannot be decoded ({reason_of(error)})"
            if packet is None:
                return

    def _picture_stream(self) -> Any:
        pictures = [s for s in self.container.streams.video if not _is_cover_art(s)]
        if not pictures:
            raise PictureError(f"{self.path} holds no moving picture")
        stream = pictures[0]
        stream.thread_type = "AUTO"
        return stream

    def _check(self) -> None:
        codec = self.stream.codec_context
        if codec is None or codec.name not in _READ_CODECS:
            raise PictureError(f"{self.path} is coded in a way that is not read; convert it to H.264 first")
        codec.options = {"max_pixels": str(_MOST_PIXELS)}
        if codec.width * codec.height > _MOST_PIXELS:
            raise PictureError(
                f"{self.path} is {codec.width}×{codec.height}, more than {_MOST_PIXELS:,} pixels; make it "
                "smaller first"
            )
        if not codec.width or not codec.height or not codec.pix_fmt:
            raise PictureError(
                f"{self.path} is not a clip that can be read: it does not say how large it is"
            )
        if codec.color_trc in _HDR:
            raise PictureError(
                f"{self.path} is HDR ({_HDR[codec.color_trc]}); convert it to standard range first"
            )
        if codec.pix_fmt not in _FORMATS:
            raise PictureError(
                f"{self.path} has the pixel format {codec.pix_fmt}; convert it to one of "
                f"{', '.join(_FORMATS)}"
            )
        ratio = self.stream.sample_aspect_ratio
        if ratio and abs(float(ratio) - 1) > _SQUARE:
            raise PictureError(f"{self.path} has pixels that are not square ({ratio}); convert it first")


def _checked(path: Path) -> int:
    """The permissions of a file that may be a clip, and that takes no more time than its size.

    Raises:
        PictureError: it is not there, not a regular file, a photo, or lists more frames than it has bytes.
    """
    try:
        with open_named(path) as file:
            start = file.read(START_LENGTH)
            refuse_costly_clip(file)
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o777
    except FileNotFoundError as error:
        raise PictureError(f"{path} does not exist") from error
    except (OSError, CostlyFile) as error:
        raise PictureError(f"{path} is not a clip that can be read: {reason_of(error)}") from error
    if format_of(start):
        raise PictureError(f"{path} is a photo with the name of a clip; rename it")
    return mode


def pixels_of(frame: VideoFrame) -> Image:
    """A frame as it is displayed, its rotation applied: uint8 (H, W, 3) RGB."""
    matrix = None if _FORMATS[frame.format.name].gbr else _matrix_of(frame)
    rgb = frame.reformat(format="rgb24", src_colorspace=matrix).to_ndarray()
    return np.ascontiguousarray(np.rot90(rgb, _quarter_turns(frame)))


def change(frame: VideoFrame, patches: Sequence[tuple[tuple[slice, slice], Image, Alpha]]) -> None:
    """Blends patches into a frame's planes. A sample that no patch has weight for keeps its value.

    A chroma sample is changed where all pixels that it colours are.

    Args:
        patches: rows and columns of the frame as displayed, uint8 (h, w, 3) RGB, and weights (h, w), 0-1.
    """
    frame.make_writable()
    turns, kind = _quarter_turns(frame), _FORMATS[frame.format.name]
    for box, above, weight in patches:
        rows, columns = _stored(box, turns, frame.width, frame.height)
        above, weight = np.rot90(above, -turns), np.rot90(weight, -turns)
        before = rows.start % kind.down, columns.start % kind.across
        after = tuple(
            min(-part.stop % step, most - part.stop)
            for part, step, most in ((rows, kind.down, frame.height), (columns, kind.across, frame.width))
        )
        margin = (before[0], after[0]), (before[1], after[1])
        weight = np.pad(weight, margin)
        above = np.pad(above, (*margin, (0, 0)), mode="edge")
        top, left = rows.start - before[0], columns.start - before[1]
        for number, values in enumerate(_planes_of(above, frame, kind)):
            shrink = (1, 1) if number == 0 or kind.gbr else (kind.down, kind.across)
            share = _shrunk(weight, shrink, _least)
            plane = _plane(frame, number, kind.bits)
            y, x = top // shrink[0], left // shrink[1]
            part = plane[y : y + share.shape[0], x : x + share.shape[1]]
            share = share[: part.shape[0], : part.shape[1]]
            wanted = _shrunk(values, shrink, _mean)[: part.shape[0], : part.shape[1]]
            touched = share > 0
            seen = part[touched].astype(np.float32)
            mixed = np.rint(seen + share[touched] * (wanted[touched] - seen))
            part[touched] = mixed.clip(0, (1 << kind.bits) - 1).astype(part.dtype)


def _shrunk(
    values: npt.NDArray[np.float32],
    shrink: tuple[int, int],
    fold: Callable[[Sequence[npt.NDArray[np.float32]]], npt.NDArray[np.float32]],
) -> npt.NDArray[np.float32]:
    """Blocks of values (h, w) folded to one each. A block at the border may be smaller."""
    if shrink == (1, 1):
        return values
    down, across = shrink
    missing = (0, -values.shape[0] % down), (0, -values.shape[1] % across)
    padded = np.pad(values, missing, mode="edge") if any(after for _, after in missing) else values
    parts = [padded[y::down, x::across] for y in range(down) for x in range(across)]
    folded: npt.NDArray[np.float32] = fold(parts)
    return folded


def _least(parts: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    least: npt.NDArray[np.float32] = np.minimum.reduce(parts)
    return least


def _mean(parts: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total / np.float32(len(parts))


def _planes_of(rgb: Image, frame: VideoFrame, kind: _Format) -> list[npt.NDArray[np.float32]]:
    """The frame's planes of a picture at full size: Y, Cb, Cr, or G, B, R. float32 (h, w) each."""
    r, g, b = (rgb[:, :, band].astype(np.float32) for band in range(3))
    if kind.gbr:
        return [g, b, r]
    red, blue = (np.float32(share) for share in _MATRICES[_matrix_of(frame)])
    y = red * r + (1 - red - blue) * g + blue * b
    cb, cr = (b - y) / (2 * (1 - blue)), (r - y) / (2 * (1 - red))
    full = kind.full or frame.color_range == _FULL_RANGE
    luma, chroma, black = (1.0, 1.0, 0.0) if full else (219 / 255, 224 / 255, 16.0)
    step = np.float32(1 << (kind.bits - 8))
    return [(luma * y + black) * step, (chroma * cb + 128) * step, (chroma * cr + 128) * step]


def _plane(frame: VideoFrame, number: int, bits: int) -> npt.NDArray[np.unsignedinteger[Any]]:
    """A plane (h, w) of a frame, which can be written to."""
    plane = frame.planes[number]
    kind: Any = np.dtype("<u2") if bits > 8 else np.uint8
    rows = np.frombuffer(memoryview(plane), dtype=kind).reshape(
        -1, plane.line_size // np.dtype(kind).itemsize
    )
    part: npt.NDArray[np.unsignedinteger[Any]] = rows[: plane.height, : plane.width]
    return part


def _matrix_of(frame: VideoFrame) -> int:
    """The colour matrix of a frame, one of _MATRICES. Where it names none, its size tells."""
    named = int(frame.colorspace)
    if named in _MATRICES:
        return 5 if named == 6 else named
    return 1 if max(frame.height, 1) >= _HD_PX else 5


def _quarter_turns(frame: VideoFrame) -> int:
    """How often a frame is turned counterclockwise by a quarter to be displayed."""
    return round(frame.rotation / 90) % 4


def _stored(box: tuple[slice, slice], turns: int, width: int, height: int) -> tuple[slice, slice]:
    """Rows and columns of the stored frame that are shown as a box of the displayed one."""
    rows, columns = box
    if turns == 1:
        return columns, slice(width - rows.stop, width - rows.start)
    if turns == 2:
        return (
            slice(height - rows.stop, height - rows.start),
            slice(width - columns.stop, width - columns.start),
        )
    if turns == 3:
        return slice(height - columns.stop, height - columns.start), rows
    return rows, columns


class ClipWriter:
    """A clip that is being written, in a thread of its own, with all of the input but its picture."""

    def __init__(
        self,
        path: Path,
        reader: ClipReader,
        codec: Codec,
        texts: Mapping[str, str],
        *,
        lossless: bool = False,
        strip: bool = False,
    ) -> None:
        """Opens the file. Its header is written with the first frame.

        Args:
            path: of the file; `check_output` was asked.
            reader: the input, whose streams are copied.
            texts: what is added to the container's metadata. The input's texts come first.
            lossless: write without loss.
            strip: leave out the input's metadata.

        Raises:
            OutputError: the file cannot be written.
        """
        self._av = _import_av()
        self._reader, self._codec, self._lossless = reader, codec, lossless
        self._path = path
        options = (
            {"movflags": "+use_metadata_tags"} if path.suffix.lower() in (".mp4", ".m4v", ".mov") else {}
        )
        try:
            self._container: Any = self._av.open(str(path), "w", container_options=options)
        except (self._av.FFmpegError, OSError) as error:
            raise OutputError(f"cannot write {path}: {reason_of(error)}") from error
        self.left_out: list[str] = []
        kept = {} if strip else dict(reader.container.metadata)
        self._texts = {key: text for key, text in kept.items() if key not in _OF_THE_FILE} | dict(texts)
        self._last_pts: int | None = None
        self._early: list[Packet] = []
        self._early_bytes = 0
        self._queue: queue.Queue[Any] = queue.Queue(maxsize=8)
        self._error: BaseException | None = None
        self._stream: Any = None
        self._copies: dict[int, Any] = {}
        self._worker = threading.Thread(target=self._work, daemon=True)

    def write(self, frame: VideoFrame) -> None:
        """Encodes the next frame. Raises OutputError: the output cannot be written."""
        if self._stream is None:
            self._begin(frame)
        frame.pts = self._pts_of(frame)
        self._put(frame)

    def copy(self, packet: Packet) -> None:
        """Copies a packet of another stream of the input. Raises PictureError: too many precede frames."""
        if self._stream is None:
            self._early.append(packet)
            self._early_bytes += packet.size
            if self._early_bytes > _MOST_EARLY_BYTES:
                raise PictureError(f"{self._reader.path} has its picture far behind its sound; mux it anew")
        elif packet.stream.index in self._copies:
            self._put(packet)

    def close(self) -> None:
        """Ends the file. Raises OutputError: it cannot be written."""
        self._put(None)
        self._worker.join()
        if self._error is None:
            try:
                self._container.close()
            except (self._av.FFmpegError, OSError) as error:
                self._error = error
        self._raise()

    def abandon(self) -> None:
        """Lets go of the file, which is not complete."""
        if self._worker.is_alive():
            self._error = self._error or InterruptedError()
            while self._worker.is_alive():
                try:
                    self._queue.put(None, timeout=0.1)
                except queue.Full:
                    self._queue.get_nowait()
                self._worker.join(0.1)
        try:
            self._container.close()
        except (self._av.FFmpegError, OSError, ValueError):
            return

    def _put(self, item: Any) -> None:
        while self._error is None:
            try:
                self._queue.put(item, timeout=1)
                return
            except queue.Full:
                continue
        if item is not None:
            self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise OutputError(f"cannot write {self._path}: {reason_of(self._error)}") from self._error

    def _work(self) -> None:
        """The thread: encodes frames and writes packets, in the order in which they come."""
        try:
            while (item := self._queue.get()) is not None:
                if self._error is not None:
                    return
                if isinstance(item, self._av.VideoFrame):
                    self._mux(self._stream.encode(item))
                else:
                    item.stream = self._copies[item.stream.index]
                    self._container.mux(item)
            if self._error is None:
                self._mux(self._stream.encode(None))
        except (self._av.FFmpegError, OSError, ValueError) as error:
            self._error = error

    def _mux(self, packets: Sequence[Packet]) -> None:
        for packet in packets:
            self._container.mux(packet)

    def _pts_of(self, frame: VideoFrame) -> int:
        """When a frame is shown. Each is later than the one before, whatever a damaged clip says."""
        base = self._reader.stream.time_base
        step = max(1, round(1 / (self._reader.rate * base)))
        least = None if self._last_pts is None else self._last_pts + 1
        pts = frame.pts if frame.pts is not None else (0 if least is None else least - 1 + step)
        self._last_pts = pts if least is None else max(pts, least)
        return self._last_pts

    def _begin(self, frame: VideoFrame) -> None:
        """Makes the streams as the input has them, and starts the thread."""
        try:
            self._stream = self._picture(frame)
            for stream in self._reader.container.streams:
                if stream is not self._reader.stream:
                    self._add_copy(stream)
            self._container.metadata.update(self._texts)
            chapters = self._reader.container.chapters()
            if chapters:
                self._container.set_chapters(chapters)
            self._container.start_encoding()
        except (self._av.FFmpegError, OSError, ValueError) as error:
            raise OutputError(
                f"cannot write {self._path}: {reason_of(error)}; another --codec, or a name that ends in "
                ".mkv, may hold what this clip has"
            ) from error
        self._worker.start()
        early, self._early = self._early, []
        for packet in early:
            self.copy(packet)

    def _picture(self, frame: VideoFrame) -> Any:
        """The stream of the picture, with everything that the input says of its."""
        source, encoder = self._reader.stream, ENCODERS[self._codec]
        formats = {each.name for each in self._av.Codec(encoder.name, "w").video_formats or ()}
        name = frame.format.name
        # Full range is a flag where the older format for it is not known.
        plain = name.replace("yuvj", "yuv") if name not in formats else name
        if plain not in formats:
            raise OutputError(
                f"{self._codec} cannot hold the pixel format {name}; choose --codec h265, vp9 or ffv1"
            )
        kind = _FORMATS[name]
        odd = frame.width % kind.across or frame.height % kind.down
        if odd and self._codec in (Codec.H264, Codec.H265, Codec.AV1):
            raise OutputError(
                f"{self._codec} cannot hold {frame.width}×{frame.height} pixels, an odd size; "
                "choose --codec vp9, or ffv1 with a name that ends in .mkv"
            )
        quality = encoder.lossless if self._lossless else encoder.quality
        stream = self._container.add_stream(
            encoder.name, rate=self._reader.rate, options=dict(quality or {})
        )
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = frame.width, frame.height, plain
        context.time_base = stream.time_base = source.time_base
        full = kind.full and not kind.gbr
        context.color_range = _FULL_RANGE if full else source.codec_context.color_range
        for name in ("colorspace", "color_primaries", "color_trc"):
            setattr(context, name, getattr(source.codec_context, name))
        if source.sample_aspect_ratio:
            context.sample_aspect_ratio = source.sample_aspect_ratio
        context.thread_type = "AUTO"
        matrix: Any = frame.side_data.get("DISPLAYMATRIX")
        if matrix is not None:
            stream.set_display_matrix(np.frombuffer(matrix, dtype=np.int32).tolist())
        stream.metadata.update(source.metadata)
        return stream

    def _add_copy(self, stream: Any) -> None:
        """A stream of the output for one of the input that is copied, unless no container takes it."""
        if stream.type == "data":  # chapters are one, and written from what the container says of them
            self.left_out += [] if self._reader.container.chapters() else [f"a data track ({stream.index})"]
            return
        if stream.codec_context is None and stream.type != "attachment":
            self.left_out.append(f"a {stream.type} track of an unknown kind")
            return
        copy = self._container.add_stream_from_template(stream)
        copy.metadata.update(stream.metadata)
        copy.disposition = stream.disposition
        self._copies[stream.index] = copy


def _is_cover_art(stream: Any) -> bool:
    return "attached_pic" in str(stream.disposition)


def _import_av() -> Any:
    """PyAV. Raises FacemendError: it is not installed."""
    try:
        import av
    except ImportError as error:
        raise FacemendError(_PACKAGE) from error
    av.logging.set_level(av.logging.PANIC)
    return av


def read_texts(path: Path) -> Mapping[str, str]:
    """The metadata of a clip's container. Raises PictureError: it cannot be read."""
    with ClipReader(path) as reader:
        return dict(reader.container.metadata)
