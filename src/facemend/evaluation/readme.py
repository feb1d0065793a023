"""The table of a README, between two comments, as a report has it."""

from facemend.errors import FacemendError
from facemend.escaping import markdown
from facemend.evaluation.results import EvaluationReport
from facemend.evaluation.tables import head, readme_table

BEGIN, END = "<!-- benchmark: written by tools/readme_table.py -->", "<!-- benchmark: end -->"


def put_table(text: str, report: EvaluationReport) -> str:
    """A document with the report's table between BEGIN and END, whatever stood there before.

    Raises:
        FacemendError: the document lacks one of them.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise FacemendError(f"the document has no place for the table: {BEGIN} … {END}")
    return f"{before}{BEGIN}\n{readme_table(report)}\n\n{markdown(head(report))}\n{END}{after}"
