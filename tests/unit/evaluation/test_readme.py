from pathlib import Path

import pytest

from facemend.errors import FacemendError
from facemend.evaluation.results import EvaluationReport
from facemend.evaluation.tables import BEGIN, END, put_table, readme_table
from facemend.files import sha256_of
from tests.unit.evaluation.test_report import SMALL


def test_the_table_goes_between_the_comments_and_nothing_else_changes() -> None:
    once = put_table(f"before\n{BEGIN}\nold\n{END}\nafter\n", SMALL)
    before, _, rest = once.partition(BEGIN)
    table, _, after = rest.partition(END)
    assert (before, after) == ("before\n", "\nafter\n")
    assert readme_table(SMALL) in table
    assert "old" not in table
    assert put_table(once, SMALL) == once


@pytest.mark.parametrize("text", ["", BEGIN, END, f"{END} {BEGIN}"])
def test_a_document_without_a_place_for_the_table_is_refused(text: str) -> None:
    with pytest.raises(FacemendError, match="for the table"):
        put_table(text, SMALL)


def test_the_readmes_table_is_that_of_the_benchmark_of_the_shipped_model(repo_root: Path) -> None:
    path = repo_root / "docs/benchmark.json"
    if not path.exists():
        pytest.skip("docs/benchmark.json is made after the training of the shipped model")
    report = EvaluationReport.from_json(path.read_text(encoding="utf-8"))
    readme = (repo_root / "README.md").read_text(encoding="utf-8")
    assert put_table(readme, report) == readme
    shipped = sha256_of(repo_root / "src/facemend/weights/facemend.onnx")
    assert report.systems[0].sha256 == shipped


def test_the_sample_report_is_of_the_shipped_model_and_small(repo_root: Path) -> None:
    if not (repo_root / "docs/benchmark.json").exists():
        pytest.skip("docs/sample-report.html is made again after the training of the shipped model")
    page = repo_root / "docs/sample-report.html"
    assert sha256_of(repo_root / "src/facemend/weights/facemend.onnx") in page.read_text(encoding="utf-8")
    assert page.stat().st_size < 1.5e6
