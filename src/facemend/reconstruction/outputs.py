"""Files, folders and patterns: which pictures are meant, and what is written where, before anything is."""

from collections import Counter
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from fnmatch import fnmatch
from glob import has_magic
from pathlib import Path

from facemend.errors import OutputError, PictureError, UsageError
from facemend.files import real_path, refuse_links, sha256_of
from facemend.io import SUFFIXES, find_pictures, format_named, is_below, is_hidden, is_picture
from facemend.io.limits import MOST_BYTES
from facemend.reconstruction.provenance import read_provenance

_ENDING, _OCCLUSION_ENDING, _DOUBT_ENDING = "_reconstructed", "_occlusion", "_doubt"
"""What the names of an output beside its input, of an occlusion and of a heat map end with."""


@dataclass(frozen=True)
class Task:
    """One picture to reconstruct.

    Attributes:
        source: the input.
        output: the picture to write, in the format that its suffix names.
        occlusion_output: where to write the occlusion that was reconstructed, or None.
        in_place: whether the output replaces the input.
        doubt_output: where to write the heat map of the interval, or None.
    """

    source: Path
    output: Path
    occlusion_output: Path | None
    in_place: bool = False
    doubt_output: Path | None = None

    @property
    def outputs(self) -> list[Path]:
        """All files that the task writes."""
        beside = (self.occlusion_output, self.doubt_output)
        return [self.output, *(path for path in beside if path is not None)]


def plan_tasks(
    inputs: Sequence[Path],
    output: Path | None,
    *,
    aligned: bool,
    save_occlusion: bool,
    save_doubt: bool = False,
    recursive: bool = False,
    in_place: bool = False,
) -> list[Task]:
    """Decides what is written where, before anything is.

    Args:
        inputs: pictures, folders, and patterns (`*`, `?`, `[…]`, `**`) that name no file; pictures that
            facemend wrote itself are left out, unless each is named alone.
        output: a file for a single picture, in the format of its suffix; else a folder that takes each
            input's name, and its subfolder; None writes PHOTO_reconstructed beside each input.
        aligned: ready crops become PNG. Photos keep their format, if facemend writes it.
        save_occlusion: also write NAME_occlusion.png beside each output.
        save_doubt: also write NAME_doubt.png beside each output.
        recursive: search the folders' subfolders as well.
        in_place: replace each input.

    Raises:
        PictureError: a folder without pictures, or a pattern without a match.
        OutputError: an output would overwrite an input, a subfolder of the output is a link, or a photo
            that `in_place` would replace lies outside of the folder that links to it.
        UsageError: two inputs with one output, an output that is neither a folder nor of a format that
            facemend writes, or `in_place` where it cannot be.
    """
    many = len(inputs) > 1 or inputs[0].is_dir() or _is_pattern(inputs[0])
    outputs = [] if output is None else [output]
    walk = _Walk(recursive, in_place, outputs)
    found = list(dict.fromkeys(pair for path in inputs for pair in walk.pictures(path)))
    if len(inputs) > 1:
        places = {(source.parent, source.stem) for source, _ in found}
        found = [pair for pair in found if not _was_written_here(pair[0], places)]
    into_folder = output is not None and (many or output.is_dir() or not output.suffix)
    if output is not None and len(found) > 1 and _names_picture(output):
        raise UsageError(
            f"{output} names one picture, and there are {len(found)}; name a folder to write them into"
        )
    if output is not None and not into_folder:
        format_named(output)
    if in_place:
        found = _once_each(found)
    names = _Names([source for source, _ in found], aligned)
    tasks = []
    for source, name in found:
        stem, suffix = names.stem_of(source), names.suffix_of(source)
        shown = names.stem_of_occlusion(source)
        if in_place:
            _refuse_in_place(source, output, aligned)
            target = source
        elif output is None:
            target = source.with_name(f"{stem}{_ENDING}{suffix}")
        elif into_folder:
            target = output / name.with_name(stem + suffix)
        else:
            target, shown = output, output.stem
        occlusion = target.with_name(f"{shown}{_OCCLUSION_ENDING}.png") if save_occlusion else None
        doubt = target.with_name(f"{shown}{_DOUBT_ENDING}.png") if save_doubt else None
        tasks.append(Task(source, target, occlusion, in_place, doubt))
    if output is not None and into_folder:
        for folder in {task.output.parent for task in tasks}:
            refuse_links(output, folder)
    _check_apart(tasks)
    return tasks


class _Names:
    """The names of what is made of pictures.

    It has the picture's stem. Of a.jpg and a.png, what would have one name gets both of their whole names.
    """

    def __init__(self, sources: Sequence[Path], aligned: bool) -> None:
        self._aligned = aligned
        self._outputs = Counter(map(self._output, sources))
        self._stems = Counter((source.parent, source.stem) for source in sources)

    def suffix_of(self, source: Path) -> str:
        """Ready crops become PNG. Photos keep their suffix, if facemend writes it."""
        keeps = not self._aligned and source.suffix.lower() in SUFFIXES
        return source.suffix if keeps else ".png"

    def stem_of(self, source: Path) -> str:
        """The stem of the output."""
        alone = self._outputs[self._output(source)] == 1 or self.suffix_of(source) == source.suffix
        return source.stem if alone else source.name

    def stem_of_occlusion(self, source: Path) -> str:
        """What the occlusion's name begins with."""
        return source.stem if self._stems[source.parent, source.stem] == 1 else source.name

    def _output(self, source: Path) -> tuple[Path, str, str]:
        return source.parent, source.stem, self.suffix_of(source)


@dataclass(frozen=True)
class _Walk:
    """Finds the pictures of an input, each with its name below the output folder.

    Attributes:
        recursive, in_place: as `plan_tasks` takes them.
        outputs: folders whose pictures are outputs of this very command.
    """

    recursive: bool
    in_place: bool
    outputs: Sequence[Path]

    def pictures(self, path: Path) -> Iterator[tuple[Path, Path]]:
        if _is_pattern(path):
            yield from self._matches(path)
        elif path.is_dir():
            pictures = find_pictures(path, recursive=self.recursive, leave_out=self.outputs)
            found = [picture for picture in pictures if is_meant(picture, in_place=self.in_place)]
            if not found:
                deeper = "" if self.recursive else "; recursive=True looks into its subfolders as well"
                raise PictureError(f"{path} holds no pictures to reconstruct{deeper}")
            self._refuse_leading_out(found, path)
            yield from ((picture, picture.relative_to(path)) for picture in found)
        else:
            yield path, Path(path.name)

    def _matches(self, pattern: Path) -> Iterator[tuple[Path, Path]]:
        """The pictures of a pattern, named from its first folder that is not a pattern itself."""
        fixed, rest = _split_pattern(pattern)
        found = [
            picture
            for picture in self._candidates(fixed, rest)
            if is_meant(picture, in_place=self.in_place) and not is_below(picture, fixed, self.outputs)
        ]
        if not found:
            raise PictureError(f"{pattern} matches no pictures to reconstruct")
        self._refuse_leading_out(found, fixed)
        yield from ((picture, picture.relative_to(fixed)) for picture in found)

    def _refuse_leading_out(self, found: Sequence[Path], folder: Path) -> None:
        """Raises OutputError: a photo would be replaced that lies elsewhere, and that nobody named."""
        home = real_path(folder)
        for picture in found if self.in_place else ():
            if picture.is_symlink() and home not in real_path(picture).parents:
                raise OutputError(
                    f"{picture} is a link to a photo outside of {folder}; name it alone, or remove it"
                )

    def _candidates(self, fixed: Path, rest: str) -> Iterator[Path]:
        enters_folders = self.recursive and "**" not in Path(rest).parts
        for match in sorted(set(_matches(fixed, Path(rest).parts))):
            name = match.relative_to(fixed)
            if match.is_dir():
                if enters_folders and not match.is_symlink() and not is_hidden(name):
                    yield from find_pictures(match)
            elif is_picture(name) and match.is_file():
                yield match


def _names_picture(output: Path) -> bool:
    """Whether an output that is not there yet has the suffix of a picture."""
    return output.suffix.lower() in SUFFIXES and not output.is_dir()


def _once_each(found: Sequence[tuple[Path, Path]]) -> list[tuple[Path, Path]]:
    """Each photo once: of a photo and links to it, the photo."""
    chosen: dict[Path, tuple[Path, Path]] = {}
    for pair in sorted(found, key=lambda pair: pair[0].is_symlink()):
        chosen.setdefault(real_path(pair[0]), pair)
    return [pair for pair in found if pair in chosen.values()]


def _is_pattern(path: Path) -> bool:
    return bool(_split_pattern(path)[1]) and not path.exists()


def _split_pattern(path: Path) -> tuple[Path, str]:
    """The folders that a path begins with, and the pattern below them; an empty text where there is none.

    A folder that exists is not a pattern, whatever signs its name holds.
    """
    fixed = Path(path.anchor)
    parts = path.parts[len(fixed.parts) :]
    for place, part in enumerate(parts):
        if has_magic(part) and not (fixed / part).is_dir():
            return fixed, str(Path(*parts[place:]))
        fixed /= part
    return fixed, ""


def _matches(folder: Path, parts: Sequence[str]) -> Iterator[Path]:
    """What a pattern names below a folder. No folder that is a link is entered.

    Python's own follows links, so that two of them to the folder itself make it search for ever.
    """
    waiting = [(folder, 0)]
    seen = set(waiting)
    while waiting:
        home, place = waiting.pop()
        part, is_last = parts[place], place == len(parts) - 1
        further = []
        if part == "**":
            further = [(home, place + 1)] if not is_last else []
            found = _entries(home)
            further += [
                (path, place) for path in found if _is_own_folder(path) and not is_hidden(Path(path.name))
            ]
        elif has_magic(part):
            shown = [path for path in _entries(home) if part[0] == "." or path.name[0] != "."]
            found = [path for path in shown if fnmatch(path.name, part)]
        else:
            found = [home / part]
        if is_last:
            yield from found
        elif part != "**":
            further = [(path, place + 1) for path in found if _is_own_folder(path)]
        waiting += [each for each in further if each not in seen]
        seen |= set(further)


def _entries(folder: Path) -> list[Path]:
    """What lies in a folder. Nothing if it may not be read."""
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _is_own_folder(path: Path) -> bool:
    """Whether a path is a folder, and no link to one: it may lead to photos that nobody meant."""
    return path.is_dir() and not path.is_symlink()


def is_meant(picture: Path, *, in_place: bool) -> bool:
    """Whether a picture that nobody named alone is an input, and not an output."""
    if _is_copy(picture):
        return False
    # A photo that was replaced by its reconstruction stays an input: it is counted as finished.
    return not read_provenance(picture) or (
        in_place and not picture.stem.endswith((_ENDING, _OCCLUSION_ENDING, _DOUBT_ENDING))
    )


def _is_copy(picture: Path) -> bool:
    """Whether a picture was written unchanged beside its input: such a file says nothing of itself."""
    original = picture.with_name(picture.stem.removesuffix(_ENDING) + picture.suffix)
    try:
        return (
            original != picture
            and original.is_file()
            and original.stat().st_size == picture.stat().st_size
            and sha256_of(original, MOST_BYTES) == sha256_of(picture, MOST_BYTES)
        )
    except OSError:
        return False  # said when its turn comes


def _was_written_here(picture: Path, places: Set[tuple[Path, str]]) -> bool:
    """Whether a shell's `*` named an earlier output beside its input, by all inputs' folders and stems."""
    for ending in (_ENDING, _OCCLUSION_ENDING, _DOUBT_ENDING):
        stem = picture.stem.removesuffix(ending)
        if stem == picture.stem:
            continue
        if (picture.parent, stem) in places and (read_provenance(picture) or _is_copy(picture)):
            return True
    return False


def _refuse_in_place(source: Path, output: Path | None, aligned: bool) -> None:
    if output is not None:
        raise UsageError("in_place=True replaces the photos; name no output")
    if aligned:
        raise UsageError("in_place=True is for photos; ready crops become PNG files")
    format_named(source)


def _check_apart(tasks: Sequence[Task]) -> None:
    inputs = {real_path(task.source) for task in tasks}
    writers: dict[Path, Task] = {}
    for task in tasks:
        for path in task.outputs:
            if real_path(path) in inputs and not (task.in_place and path == task.output):
                raise OutputError(f"{path} would overwrite an input; choose another output")
            first = writers.setdefault(real_path(path), task)
            if first is not task:
                raise UsageError(
                    f"{first.source} and {task.source} would both be written to {path}; rename one, or "
                    "reconstruct them into two folders"
                )
