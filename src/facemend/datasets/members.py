"""Members of zip archives, one at a time and none larger than a picture."""

import struct
import zipfile
import zlib
from typing import Final

MOST_MEMBER_BYTES: Final = 256 << 20
"""The largest picture in an archive, a tar or a Parquet file: far more than any crop of a face."""
_MOST_RATIO: Final = 200
"""Of a member's size to what it takes in the archive. Pictures hardly shrink, a bomb 1,000 times."""
_FREE_BYTES: Final = 1 << 20
"""Smaller members may shrink as they like."""

MEMBER_ERRORS: Final = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    RuntimeError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
)
"""What zipfile raises on archives that are damaged, encrypted, or made to harm."""


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """The bytes of a member.

    Raises:
        ValueError: it is larger than any picture, or shrinks as no picture does.
        Exception: one of MEMBER_ERRORS.
    """
    info = archive.getinfo(name)
    if info.file_size > MOST_MEMBER_BYTES:
        raise ValueError(f"it takes {info.file_size >> 20} MiB, more than any picture here")
    if info.file_size > max(_FREE_BYTES, _MOST_RATIO * info.compress_size):
        raise ValueError(f"{info.compress_size} bytes would become {info.file_size}; it is no picture")
    with archive.open(info) as file:
        # The directory may lie about the size.
        data = file.read(info.file_size + 1)
    if len(data) > info.file_size:
        raise ValueError("it is larger than the archive says")
    return data
