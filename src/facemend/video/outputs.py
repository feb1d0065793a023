"""Clips in files: what is written where, what was finished before, and what a clip says of its making."""

import shutil
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facemend.errors import OutputError, PictureError, UsageError
from facemend.files import (
    TEMPORARY,
    parse_json,
    read_own,
    real_path,
    refuse_links,
    sha256_of,
    write_text,
    written_whole,
)
from facemend.images import Image
from facemend.io import is_clip
from facemend.io.formats import find_files
from facemend.reconstruction.batch import Outcome
from facemend.reconstruction.options import Options, options_of
from facemend.reconstruction.provenance import NOTICE, Provenance, provenance_of
from facemend.reconstruction.reconstructor import Reconstructor
from facemend.terminal import printable_json
from facemend.video.clips import (
    KEY,
    SUFFIXES,
    ClipReader,
    ClipWriter,
    Codec,
    change,
    check_output,
    default_codec,
    pixels_of,
    read_texts,
)
from facemend.video.reconstructor import FrameReconstruction, reconstruct_frames, shipped_for_clips

try:
    import fcntl
except ImportError:  # Windows, where nobody removes a file that is open
    _flock: Callable[[int, int], None] | None = None
else:
    _flock = fcntl.flock

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

_SAID = ("notice", "software", "model", "model_sha256", "input_sha256", "options")
SIDECAR_ENDING = ".facemend.json"
_ENDING = "_reconstructed"


@dataclass
class Track:
    """One face through one shot.

    Attributes:
        track: its number, in the order in which faces appeared. No other face or shot has it.
        shot: number of the shot, from 0.
        first_frame, last_frame: where it was followed, from 0.
        first_s, last_s: the same in seconds.
        box_px: x1, y1, x2, y2 in the first frame, as displayed.
        confidence: the detector's, of the last frame.
        lost_frames: in how many it was not seen, and its location was the last one.
        reconstructed_frames: in how many something was reconstructed.
        coverage: the mean share of the frame's pixels that were reconstructed there.
    """

    track: int
    shot: int
    first_frame: int
    first_s: float
    box_px: tuple[float, ...]
    confidence: float = 0.0
    last_frame: int = 0
    last_s: float = 0.0
    lost_frames: int = 0
    reconstructed_frames: int = 0
    coverage: float = 0.0


@dataclass(frozen=True)
class VideoReconstruction:
    """What became of a clip.

    Attributes:
        source, output: the files.
        outcome: in one word.
        provenance: how the output was made. None if it failed.
        frames, changed_frames: how many there are, and in how many something was reconstructed.
        shots: how many there are between cuts.
        tracks: the faces, in the order in which they appeared.
        notes: what a user should know, a line each: an earlier run that was interrupted, damage, tracks
            that the output cannot hold.
        error: why it failed, in one line, or None.
    """

    source: Path
    output: Path
    outcome: Outcome
    provenance: Provenance | None = None
    frames: int = 0
    changed_frames: int = 0
    shots: int = 0
    tracks: tuple[Track, ...] = ()
    notes: tuple[str, ...] = ()
    error: str | None = None

    @property
    def sidecar(self) -> Path:
        """The JSON file beside the output that says how it was made."""
        return sidecar_of(self.output)


def sidecar_of(output: Path) -> Path:
    """The JSON file beside a clip that says how it was made."""
    return output.with_name(output.name + SIDECAR_ENDING)


def _is_ours(clip: Path) -> bool:
    """Whether facemend wrote a clip."""
    try:
        return sidecar_of(clip).exists()
    except OSError:  # such a name is too long
        return False


def find_clips(folder: Path, *, recursive: bool = False) -> list[Path]:
    """The clips of a folder, in order, without those that facemend wrote."""
    found = find_files(folder, lambda name: is_clip(Path(name)), recursive=recursive)
    return sorted(path for path in found if not _is_ours(path))


def plan_clips(
    inputs: Sequence[Path], output: Path | None, *, recursive: bool = False
) -> list[tuple[Path, Path]]:
    """Each clip and its output.

    Args:
        inputs: clips, and folders of clips.
        output: a file for a single clip, else a folder. None writes CLIP_reconstructed beside each.

    Raises:
        PictureError: a folder without clips.
        UsageError: an output that cannot be, or two clips with one output.
        OutputError: an output is an input, or a subfolder of the output is a link.
    """
    sources: dict[Path, Path] = {}
    for path in inputs:
        found = [path]
        if path.is_dir():
            found = find_clips(path, recursive=recursive)
        elif has_magic(path.name) and not path.exists():
            found = [clip for clip in sorted(path.parent.glob(path.name)) if not _is_ours(clip)]
        if not found:
            raise PictureError(f"{path} holds no clips to reconstruct")
        sources |= {clip: clip.relative_to(path) if path.is_dir() else Path(clip.name) for clip in found}
    many = len(inputs) > 1 or inputs[0].is_dir()
    into_folder = output is not None and (many or output.is_dir() or not output.suffix)
    pairs = []
    for source, name in sources.items():
        suffix = source.suffix if source.suffix.lower() in SUFFIXES else ".mp4"
        if output is None:
            target = source.with_name(f"{source.stem}{_ENDING}{suffix}")
        else:
            target = output / name.with_suffix(suffix) if into_folder else output
        if output is not None and into_folder:
            refuse_links(output, target.parent)
        pairs.append((source, target))
    places = [real_path(target) for _, target in pairs]
    if len(set(places)) < len(places):
        raise UsageError("two clips would be written to one file; rename one, or use two folders")
    if overwritten := {real_path(source) for source, _ in pairs} & set(places):
        raise OutputError(f"{min(overwritten)} would be overwritten, an input; choose another output")
    return pairs


def reconstruct_video(
    source: Path | str,
    output: Path | str,
    options: Options | None = None,
    /,
    *,
    reconstructor: Reconstructor | None = None,
    codec: Codec | str | None = None,
    lossless: bool = False,
    force: bool = False,
    progress: Callable[[int, int | None], None] | None = None,
    **changes: Any,
) -> VideoReconstruction:
    """Reconstructs what hides the faces in a clip, and writes it with everything else that the clip holds.

    Faces are followed, and each looks the same from frame to frame. A pixel outside the occlusions goes to
    the encoder as it was decoded. A clip in which nothing is covered is copied, byte for byte, if the
    output has its suffix. The output appears when it is complete. Memory does not grow with the length.

    Args:
        source: the clip.
        output: MP4, MOV, MKV or WebM. A file with the provenance is written beside it.
        options: what to do (None: the defaults of `Options`).
        reconstructor: a model of your own. None takes the one that comes with facemend.
        codec: h264, h265, vp9, av1 or ffv1. None is H.264, and VP9 in WebM.
        lossless: encode without loss.
        force: overwrite whatever lies at the output.
        progress: called with the frames that are done, and how many there are if the clip says so.
        changes: fields of `Options` with other values.

    Raises:
        PictureError: the clip cannot be read, or is of a kind that is not handled (HDR, interlaced).
        OutputError: the output is there and is other work, or cannot hold the clip.
        UsageError: an unknown codec, an output of another format, or options that are for one photo.
        FacemendError: the extra `video` is not installed.
    """
    source, output = Path(source), Path(output)
    options = options_of(options, changes)
    chosen = _codec_of(codec, output)
    check_output(output, chosen, lossless=lossless)
    reconstructor = reconstructor or shipped_for_clips()
    with ClipReader(source) as reader:
        made = _provenance(reconstructor, options, source, chosen, lossless)
        if not force and _is_finished(output, made):
            return VideoReconstruction(source, output, Outcome.SKIPPED, made)
        notes = _remove_parts(output)
        run = _Run(reader, output, made, chosen, lossless, progress)
        done = run(reconstructor, options, force=force)
    result = VideoReconstruction(
        source,
        output,
        done.outcome,
        made,
        done.frames,
        done.changed_frames,
        done.shots,
        tuple(done.tracks.values()),
        (*notes, *done.notes),
    )
    text = printable_json({"notice": NOTICE} | describe(result), indent=2)
    write_text(result.sidecar, text + "\n", force=True, most_mode=reader.file_mode)
    return result


def describe(result: VideoReconstruction) -> dict[str, Any]:
    """The result of a clip, ready for JSON."""
    described: dict[str, Any] = {"input": str(result.source), "outcome": result.outcome.value}
    if result.error is not None:
        return described | {"error": result.error}
    made = result.provenance
    assert made is not None
    return described | {
        "outputs": [str(result.output), str(result.sidecar)],
        "provenance": {
            "software": made.software,
            "model": made.model,
            "model_sha256": made.model_sha256,
            "input_sha256": made.input_sha256,
            "options": dict(made.options),
        },
        "frames": result.frames,
        "changed_frames": result.changed_frames,
        "shots": result.shots,
        "tracks": [vars(track) for track in result.tracks],
        "notes": list(result.notes),
    }


def describe_clip(path: Path) -> dict[str, Any]:
    """What a clip that facemend wrote says about its making, ready for JSON.

    Raises:
        PictureError: facemend did not write it, or it cannot be read.
        FacemendError: the extra `video` is not installed.
    """
    texts = {key.lower(): text for key, text in read_texts(path).items()}  # Matroska's are in upper case
    made = provenance_of(texts[KEY]) if KEY in texts else None
    if made is None:
        raise PictureError(
            f"{path} says nothing about its making: facemend did not write it, or its metadata was removed"
        )
    said = {"notice": made.notice} | vars(made)
    return {"clip": str(path)} | {name: said[name] for name in _SAID}


@dataclass
class _Run:
    """The work on one clip."""

    reader: ClipReader
    output: Path
    made: Provenance
    codec: Codec
    lossless: bool
    progress: Callable[[int, int | None], None] | None
    outcome: Outcome = Outcome.NO_FACE
    frames: int = 0
    changed_frames: int = 0
    shots: int = 0
    tracks: dict[int, Track] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __call__(self, reconstructor: Reconstructor, options: Options, *, force: bool) -> "_Run":
        mode = self.reader.file_mode
        with written_whole(self.output, force=force, most_mode=mode) as temporary, _locked(temporary):
            texts = {KEY: self.made.to_note().record}
            if "comment" not in map(str.lower, self.reader.container.metadata):
                texts["comment"] = NOTICE
            writer = ClipWriter(
                temporary, self.reader, self.codec, texts, lossless=self.lossless, strip=options.strip
            )
            try:
                self._write(writer, reconstructor, options)
                writer.close()
            except BaseException:
                writer.abandon()
                raise
            same_suffix = self.output.suffix.lower() == self.reader.path.suffix.lower()
            if not self.changed_frames and same_suffix and not options.strip and not self.reader.damaged:
                shutil.copyfile(self.reader.path, temporary)
            elif writer.left_out:
                self.notes.append(f"left out, which the output cannot hold: {', '.join(writer.left_out)}")
        if self.reader.damaged:
            self.notes.append(f"{self.reader.path} is damaged: {self.reader.damaged}")
        if self.tracks:
            self.outcome = Outcome.RECONSTRUCTED if self.changed_frames else Outcome.UNCHANGED
        return self

    def _write(self, writer: ClipWriter, reconstructor: Reconstructor, options: Options) -> None:
        waiting: deque[VideoFrame] = deque()

        def pixels() -> Iterator[Image]:
            for frame in self.reader.frames(writer.copy):
                waiting.append(frame)
                yield pixels_of(frame)

        with closing(reconstruct_frames(pixels(), options, reconstructor=reconstructor)) as results:
            for done in results:
                frame = waiting.popleft()
                if done.patches:
                    change(frame, [(patch.box, patch.above, patch.weight) for patch in done.patches])
                self._note(done, float(frame.time or 0.0))
                writer.write(frame)
                if self.progress is not None:
                    self.progress(self.frames, self.reader.frames_expected)

    def _note(self, done: FrameReconstruction, time_s: float) -> None:
        for one in done.faces:
            box_px = tuple(round(value, 1) for value in one.face.box_px)
            track = self.tracks.setdefault(
                one.track, Track(one.track, done.shot, self.frames, round(time_s, 3), box_px)
            )
            track.last_frame, track.last_s = self.frames, round(time_s, 3)
            track.confidence = round(one.face.confidence, 3)
            track.lost_frames += one.lost
            if one.coverage:
                track.reconstructed_frames += 1
                track.coverage += (one.coverage - track.coverage) / track.reconstructed_frames
        self.changed_frames += bool(done.patches)
        self.shots = done.shot + 1
        self.frames += 1


def _codec_of(codec: Codec | str | None, output: Path) -> Codec:
    if codec is None:
        return default_codec(output)
    if codec not in list(Codec):
        raise UsageError(f"unknown codec {codec!r}; choose from {', '.join(Codec)}")
    return Codec(codec)


def _provenance(
    reconstructor: Reconstructor, options: Options, source: Path, codec: Codec, lossless: bool
) -> Provenance:
    made = reconstructor.provenance(sha256_of(source), options)
    texts = dict(made.options) | {"input": "clip", "codec": codec.value}
    texts |= {"lossless": "yes"} if lossless else {}
    return Provenance(made.model, made.model_sha256, made.input_sha256, texts)


def _is_finished(output: Path, made: Provenance) -> bool:
    """Whether this very work lies at the output.

    Raises:
        OutputError: something else does.
    """
    if not output.exists():
        return False
    with suppress(OSError, ValueError, KeyError, TypeError):
        said = parse_json(read_own(sidecar_of(output)))["provenance"]
        earlier = said["model_sha256"], said["input_sha256"], said["options"]
        if earlier == (made.model_sha256, made.input_sha256, dict(made.options)):
            return True
    raise OutputError(
        f"{output} exists already and is not this reconstruction; choose another output or add force=True"
    )


@contextmanager
def _locked(part: Path) -> Iterator[None]:
    """Marks an unfinished output as being written. The mark goes with the process, however it ends."""
    with part.open("rb") as file:
        if _flock is not None:
            _flock(file.fileno(), fcntl.LOCK_EX)
        yield


def _remove_parts(output: Path) -> list[str]:
    """Removes what killed runs left beside the output, and says so. A run that goes on keeps its own."""
    notes = []
    for part in output.parent.glob(".*") if output.parent.is_dir() else ():
        if not TEMPORARY.fullmatch(part.name) or part.suffix != output.suffix:
            continue
        if part.is_symlink() or not part.is_file():
            continue
        with suppress(OSError), part.open("rb") as file:
            if _flock is not None:
                _flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink()
            notes = [f"an earlier run was interrupted; {output} begins again"]
    return notes
