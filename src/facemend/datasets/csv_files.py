"""CSV files of a few columns, such as identities, from untrusted sources."""

from collections.abc import Sequence

from facemend.errors import SourceError
from facemend.files import parse_csv


def parse_table(data: bytes, name: str, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file by column. A missing value of a required column is an empty text.

    Args:
        name: the file's name for errors.
        columns: required columns. Others are allowed.

    Raises:
        SourceError: the file is not CSV in UTF-8, lacks a column, or has no rows.
    """
    try:
        names, rows = parse_csv(data)
    except ValueError as error:
        raise SourceError(f"{name} is not CSV in UTF-8: {error}") from error
    if not rows or not set(columns) <= set(names):
        raise SourceError(f"{name} needs the columns {' and '.join(columns)}")
    empty = dict.fromkeys(columns, "")
    return [empty | row for row in rows]
