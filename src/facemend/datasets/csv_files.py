"""CSV files of a few columns, such as who is who, as strangers may have written them."""

import csv
import io
from collections.abc import Sequence

from facemend.errors import SourceError


def parse_table(data: bytes, name: str, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file by their columns; what a row lacks is an empty text.

    Args:
        name: what an error calls the file.
        columns: that it has to have; others may be there.

    Raises:
        SourceError: it is no CSV in UTF-8, has none of the columns, or no row.
    """
    try:
        text = io.StringIO(data.decode("utf-8-sig"), newline="")
        reader = csv.DictReader(text, restkey="", restval="")
        rows = [{key: value for key, value in row.items() if isinstance(value, str)} for row in reader]
    except (csv.Error, UnicodeDecodeError) as error:
        raise SourceError(f"{name} is no CSV in UTF-8: {error}") from error
    if not rows or not set(columns) <= set(rows[0]):
        raise SourceError(f"{name} needs the columns {' and '.join(columns)}")
    return rows
