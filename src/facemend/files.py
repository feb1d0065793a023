"""Writing files so that nothing is ever half-written and nothing is lost, and knowing them again.

Files that a command keeps for itself in a folder (`read_own`, `open_log`) may have been put there by a
stranger: a link there is never followed, and nothing but a regular file is opened.
"""

import csv
import errno
import hashlib
import io
import json
import math
import os
import re
import secrets
import shutil
import stat
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, TextIO

from facemend.errors import OutputError, reason_of

MOST_TEXT_BYTES: Final = 64 << 20
"""The largest description, table or list that is read whole; the largest of CelebA's takes 25 MB."""
_MOST_COLUMNS: Final = 1000
_MOST_DOTS: Final = 500
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)
"""A pipe without a writer is opened at once, and then refused."""


_LONGEST_SUFFIX = 16
TEMPORARY: Final = re.compile(r"\.facemend-[0-9a-f]{12}(\..*)?")
"""The names of files that `written_whole` had not finished when the process was killed."""


class UnfitFile(OSError):
    """A file is a link, not a regular file, or larger than anything of its kind. The text says which."""


@contextmanager
def written_whole(
    path: Path, *, force: bool = False, most_mode: int = 0o777, keep_links: bool = False
) -> Iterator[Path]:
    """Yields a temporary path in the folder of `path`. Renames it to `path` if the block succeeds.

    The folder is created. A reader sees the old file or the new one, never a part. A file that is
    replaced keeps its permissions and, where the system lets us, its owner.

    Args:
        most_mode: permissions that the new file does not exceed: those of the file it is made of.
        keep_links: write what `path` leads to. A file with several names keeps them: it is written over,
            once the new one is complete beside it.

    Raises:
        OutputError: `path` exists and `force` is not set, or the disk or folder refuses.
    """
    try:
        if path.exists() and not force:
            raise OutputError(f"{path} exists already; choose another name or add force=True")
        target = real_path(path) if keep_links else path
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = _new_file_beside(target, most_mode)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {reason_of(error)}") from error
    try:
        yield temporary
        there = _regular(target)
        if there is not None:
            _take_after(temporary, there, most_mode)
        if there is not None and keep_links and there.st_nlink > 1:
            with temporary.open("rb") as made, target.open("r+b") as file:
                shutil.copyfileobj(made, file)
                file.truncate()
        else:
            temporary.replace(target)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {reason_of(error)}") from error
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def real_path(path: Path) -> Path:
    """Where a path leads, links followed. Unlike `Path.resolve` it takes a link that leads to itself."""
    return Path(os.path.realpath(path))


def is_disk_unfit(error: BaseException) -> bool:
    """Whether an error says that nothing more can be written: the disk is full, or read only."""
    cause = error if isinstance(error, OSError) else error.__cause__
    return isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def write_text(path: Path, text: str, *, force: bool = False, most_mode: int = 0o777) -> None:
    """Writes UTF-8 text whole or not at all. Arguments and errors as `written_whole`."""
    with written_whole(path, force=force, most_mode=most_mode) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_own(path: Path, most_bytes: int = MOST_TEXT_BYTES) -> bytes:
    """The bytes of a file that a command left in a folder. A link there is not followed.

    Raises:
        UnfitFile: it is a link, not a regular file, or has more bytes.
        OSError: it is not there, or cannot be read.
    """
    with open_own(path) as file:
        return _bounded(file, most_bytes)


def open_own(path: Path) -> BinaryIO:
    """Opens such a file for reading. Raises as `read_own` does."""
    return os.fdopen(_open_regular(path, os.O_RDONLY | _NO_LINK), "rb")


def open_log(path: Path) -> TextIO:
    """Opens such a file for lines at its end, UTF-8, and makes it where there is none.

    Raises:
        OutputError: it is a link, has a second name elsewhere, is not a regular file, or cannot be opened.
    """
    try:
        number = _open_regular(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | _NO_LINK)
        if os.fstat(number).st_nlink > 1:
            os.close(number)
            raise UnfitFile("it is a link to another file; remove it")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {reason_of(error)}") from error
    return os.fdopen(number, "a", encoding="utf-8")


def refuse_links(home: Path, folder: Path) -> None:
    """Makes sure that a folder below an output folder is really there: a link would lead out of it.

    Args:
        home: the folder that the user named, which may be a link.
        folder: below it; it need not exist.

    Raises:
        OutputError: the folder, or one between the two, is a link.
    """
    for place in (folder, *folder.parents):
        if place == home:
            return
        if place.is_symlink():
            raise OutputError(f"{place} is a link; remove it, or choose another folder")


def read_named(path: Path, most_bytes: int = MOST_TEXT_BYTES) -> bytes:
    """The bytes of a file that the user named. Raises as `read_own` does, but follows links."""
    with open_named(path) as file:
        return _bounded(file, most_bytes)


def open_named(path: Path) -> io.BufferedReader:
    """Opens a file that the user named for reading, and follows links. Raises as `read_own` does."""
    return os.fdopen(_open_regular(path, os.O_RDONLY), "rb")


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is not JSON in UTF-8, is nested too deeply, or holds NaN, an infinity or half a
            character (a lone surrogate), which no file could be written with.
    """
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
        if "\\u" in text if isinstance(text, str) else b"\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return value


def sha256_of(path: Path, most_bytes: int | None = None) -> str:
    """The sha256 of a file, hexadecimal.

    Raises:
        UnfitFile: it is not a regular file, or has more bytes than it may.
        OSError: it cannot be read.
    """
    with os.fdopen(_open_regular(path, os.O_RDONLY), "rb") as file:
        if most_bytes is not None and os.fstat(file.fileno()).st_size > most_bytes:
            raise UnfitFile(f"it has more than {most_bytes >> 20} MiB")
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_parts(*parts: object) -> str:
    """The sha256 over anything that prints the same when it is the same, hexadecimal."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()


def seed_of(*parts: str | int) -> int:
    """A seed that depends on the parts alone: the same on every machine and in every process."""
    text = "\0".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def fingerprint_of(*parts: object) -> str:
    """The first 16 digits of `sha256_of_parts`."""
    return sha256_of_parts(*parts)[:16]


def parse_csv(data: bytes) -> tuple[list[str], list[dict[str, str]]]:
    """The columns of a CSV file and its rows; a value that is missing has no key.

    A row takes as much as stands in it, however many columns there are.

    Raises:
        ValueError: it is not CSV in UTF-8, or has more than 1,000 columns.
    """
    lines = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""))
    try:
        names = next(lines, [])
        if len(names) > _MOST_COLUMNS:
            raise ValueError(f"it has more than {_MOST_COLUMNS} columns")
        return names, [dict(zip(names, row, strict=False)) for row in lines if row]
    except csv.Error as error:
        raise ValueError(str(error)) from error


def parse_toml(data: bytes) -> dict[str, Any]:
    """The table of a TOML file.

    Raises:
        ValueError: it is not TOML in UTF-8, is nested too deeply, or has a line with too many dots: Python
            reads a dotted key in time that grows with the square of its parts.
    """
    if any(line.count(b".") > _MOST_DOTS for line in data.splitlines()):
        raise ValueError(f"it has a line with more than {_MOST_DOTS} dots")
    try:
        return tomllib.loads(data.decode())
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is too large for a number")
    return value


def _open_regular(path: Path, flags: int) -> int:
    """The number of an open file."""
    if flags & _NO_LINK and path.is_symlink():
        raise UnfitFile("it is a link; remove it")
    number = os.open(path, flags | _NO_WAIT, 0o666)
    mode = os.fstat(number).st_mode
    if not stat.S_ISREG(mode):
        os.close(number)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        raise UnfitFile("it is not a regular file")
    return number


def _bounded(file: BinaryIO, most_bytes: int) -> bytes:
    data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise UnfitFile(f"it has more than {most_bytes >> 20} MiB")
    return data


def _new_file_beside(path: Path, most_mode: int) -> Path:
    """An empty file in the folder of `path`, with the permissions of any new file and no others.

    Its own name is short: that of `path` may be as long as the file system allows.
    """
    while True:
        temporary = path.with_name(f".facemend-{secrets.token_hex(6)}{path.suffix[:_LONGEST_SUFFIX]}")
        try:
            number = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK, 0o666 & most_mode)
        except FileExistsError:
            continue
        os.close(number)
        return temporary


def _regular(path: Path) -> os.stat_result | None:
    """What the system knows of a regular file. None for a link, for anything else, and for nothing."""
    try:
        there = path.lstat()
    except OSError:
        return None
    return there if stat.S_ISREG(there.st_mode) else None


def _take_after(path: Path, other: os.stat_result, most_mode: int) -> None:
    """Gives a file the owner and the permissions of another."""
    if hasattr(os, "chown"):
        with suppress(PermissionError):  # only the superuser may give files away
            os.chown(path, other.st_uid, other.st_gid)
    path.chmod(other.st_mode & 0o777 & most_mode)
