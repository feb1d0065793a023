"""Writing files so that nothing is ever half-written and nothing is lost, and knowing them again."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from facemend.errors import OutputError


@contextmanager
def written_whole(path: Path, *, force: bool = False) -> Iterator[Path]:
    """Yields a temporary path in the folder of `path`; renames it to `path` if the block succeeds.

    The folder is created. A reader sees the old file or the new one, never a part.

    Raises:
        OutputError: `path` exists and `force` is not set, or the disk or folder refuses.
    """
    try:
        if path.exists() and not force:
            raise OutputError(f"{path} exists already; choose another name or add --force")
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def write_text(path: Path, text: str, *, force: bool = False) -> None:
    """Writes UTF-8 text whole or not at all. Raises OutputError as `written_whole` does."""
    with written_whole(path, force=force) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256_of(path: Path) -> str:
    """The sha256 of a file's bytes, hexadecimal. Raises OSError where it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
