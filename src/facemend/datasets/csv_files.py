"""CSV files of a few columns, such as identities, from untrusted sources."""

import csv
import io
from collections.abc import Sequence

from facemend.errors import SourceError


def parse_table(data: bytes, name: str, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file by column. A missing value is an empty text.

    Args:
        name: the file's name for errors.
        columns: required columns. Others are allowed.

    Raises:
        SourceError: the file is not CSV in UTF-8, lacks a column, or has no rows.
    """
    try:
        text = io.StringIO(data.decode("utf-8-sig"), newline="")
        reader = csv.DictReader(text, restkey="", restval="")
        rows = [{key: value for key, value in row.items() if isinstance(value, str)} for row in reader]
    except (csv.Error, UnicodeDecodeError) as error:
        raise SourceError(f"{name} is not CSV in UTF-8: {error}") from error
    if not rows or not set(columns) <= set(rows[0]):
        raise SourceError(f"{name} needs the columns {' and '.join(columns)}")
    return rows
