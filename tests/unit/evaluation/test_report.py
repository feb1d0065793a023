from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facemend.datasets import FaceRecord, FaceSource
from facemend.errors import FacemendError, OutputError, UsageError
from facemend.evaluation.evaluate import evaluate
from facemend.evaluation.protocol import PROTOCOL, UNCHANGED
from facemend.evaluation.report import check_folder, draw_grid, take_examples, to_html, write_report
from facemend.evaluation.results import (
    AS_DRAWN,
    Comparison,
    Evaluation,
    EvaluationReport,
    Gap,
    Row,
    SystemEntry,
)
from facemend.evaluation.systems import BASELINES
from facemend.evaluation.tables import short_table, to_markdown
from facemend.images import Image
from facemend.io import read_image
from tests.tiny_celeba import gradient

SYSTEMS = [BASELINES["copy"], BASELINES["mean-colour"]]


def read_gradient(name: str) -> Image:
    return gradient(256, 256, int(name))


RECORDS = [FaceRecord(str(number), f"person {number}") for number in range(3)]
SOURCE = FaceSource("Gradients", RECORDS, read_gradient, "fingerprint")


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return evaluate(SYSTEMS, SOURCE, ["nose_mask", "blur"], split="test")


def row(
    system: str, region: str, metric: str, mean: float | None, apart: int = 0, kind: str = "all"
) -> Row:
    low, high = (None, None) if mean is None else (mean - 0.5, mean + 0.5)
    return Row(system, kind, "all", "all", AS_DRAWN, region, metric, "dB", mean, low, high, 7, apart)


SMALL = EvaluationReport(
    protocol="bench",
    facemend="1.2.3",
    source="CelebA",
    split="test",
    pictures=7,
    people=5,
    kinds=("blur",),
    inputs_sha256={"blur": "abc"},
    systems=(
        SystemEntry("ours", True, "123", "disjoint", pictures=7, latency_ms=31.26, peak_memory_mb=183.4),
        SystemEntry("copy", True, None, "none", pictures=7, latency_ms=0.1, peak_memory_mb=None),
        SystemEntry("telea", False, None, "none", pictures=3, latency_ms=7, peak_memory_mb=None),
    ),
    rows=(
        row("ours", "hole", "psnr", 21.456),
        row("ours", "hole", "psnr", 22.5, kind="blur"),
        row("ours", "composite", "psnr", 30.5),
        row("ours", "composite", "ssim", 0.94321),
        row("ours", "occlusion", "iou", 0.9119),
        row("ours", "unoccluded", "false_edits", 0.0123),
        replace(row("ours", "hole", "psnr", 21.0), condition=UNCHANGED),
        replace(row("ours", "hole", "psnr", 20.25), condition="JPEG 50"),
        row("copy", "hole", "psnr", 13.8, apart=2),
        row("telea", "hole", "psnr", None, apart=7),
    ),
    comparisons=(Comparison("ours", "copy", "all", "hole", "psnr", 7.656, 7.1, 8.2, 5),),
    gaps=(Gap("ours", "Male", "hole", "psnr", -0.314, -0.9, 0.2, 3, 4),),
    left_out={"FID": "no network given: --fid FILE"},
    command="facemend evaluate ours.onnx --data celeba --output report",
)


def cells(table: str, system: str) -> list[str]:
    """The cells of a system's line."""
    (line,) = [line for line in table.splitlines() if line.startswith(f"| {system} ")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def section(markdown: str, title: str) -> str:
    return markdown.split(f"## {title}\n")[1].split("\n## ")[0]


def test_json_gives_the_same_report_again(evaluation: Evaluation) -> None:
    assert EvaluationReport.from_json(evaluation.report.to_json()) == evaluation.report
    assert EvaluationReport.from_json(SMALL.to_json()) == SMALL


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 2}', SMALL.to_json().replace('"rows"', '"lines"')])
def test_a_text_that_is_no_report_is_refused(text: str) -> None:
    with pytest.raises(FacemendError, match="not an evaluation report"):
        EvaluationReport.from_json(text)


def test_a_report_of_another_format_is_refused() -> None:
    with pytest.raises(FacemendError, match="format 1"):
        EvaluationReport.from_json(replace(SMALL, format=1).to_json())


def test_the_short_table_puts_the_hole_first_and_the_composite_beside_it() -> None:
    table = short_table(SMALL)
    assert cells(table, "system") == [
        "system",
        "occlusion",
        "hole dB",
        "blur",
        "composite dB / SSIM",
        "IoU",
    ]
    assert cells(table, "ours") == ["ours", "blind", "21.46", "22.50", "30.50 / 0.9432", "0.912"]
    assert cells(table, "telea, first 3")[1] == "given"


def test_perfect_pictures_are_named_in_the_table() -> None:
    table = short_table(SMALL)
    assert cells(table, "copy")[2] == "13.80 (+2 perfect)"
    assert cells(table, "telea, first 3")[2] == "– (+7 perfect)"


def test_the_report_has_intervals_the_gain_over_copy_and_the_false_edits() -> None:
    summary = section(to_markdown(SMALL), "All kinds together")
    ours = dict(zip(cells(summary, "system"), cells(summary, "ours"), strict=True))
    assert ours["hole dB"] == "21.46 (20.96 to 21.96)"
    assert ours["over copy"] == "+7.66 (7.10 to 8.20)"
    assert ours["false edits"] == "1.2%"
    assert cells(summary, "copy")[3] == "–"


def test_the_report_compares_systems_and_groups_and_says_what_it_left_out() -> None:
    markdown = to_markdown(SMALL)
    differences = section(markdown, "Same pictures, same people: the difference")
    assert cells(differences, "ours minus copy")[1] == "+7.66 (7.10 to 8.20)"
    gaps = section(markdown, "Hole dB, people with an attribute minus people without it")
    assert cells(gaps, "ours") == ["ours", "-0.31 (-0.90 to 0.20)"]
    assert cells(section(markdown, "Left out"), "FID")[1] == "no network given: --fid FILE"
    assert section(markdown, "Again").splitlines()[2] == SMALL.command


def test_a_harder_condition_is_told_by_what_it_costs() -> None:
    title = "Hole dB under harder conditions, on the first 7 pictures"
    table = section(to_markdown(SMALL), title)
    ours = dict(zip(cells(table, "system"), cells(table, "ours"), strict=True))
    assert (ours["unchanged"], ours["JPEG 50"], ours["10% larger"]) == ("21.00", "-0.75", "–")


def test_reports_are_joined_over_the_same_inputs_only() -> None:
    telea = replace(
        SMALL,
        systems=SMALL.systems[1:],
        rows=tuple(row for row in SMALL.rows if row.system != "ours"),
        comparisons=(),
        gaps=(),
    )
    ours = replace(SMALL, systems=SMALL.systems[:1], rows=SMALL.rows[:8])
    assert ours.joined(telea) == SMALL
    assert SMALL.joined(SMALL) == SMALL
    for other in ({"inputs_sha256": {"blur": "abd"}}, {"protocol": "bench v2"}, {"split": "val"}):
        with pytest.raises(UsageError, match=f"differ in {next(iter(other))}.*cannot be compared"):
            ours.joined(replace(telea, **other))


def test_the_report_says_what_was_measured_and_on_what() -> None:
    markdown = to_markdown(SMALL)
    assert (
        "bench, facemend 1.2.3: 7 pictures of 5 people (CelebA, test split), each under blur." in markdown
    )
    assert cells(section(markdown, "Systems"), "ours") == [
        "ours",
        "none",
        "7",
        "31.3",
        "183",
        "123",
    ]
    assert cells(section(markdown, "Inputs"), "blur") == ["blur", "–", "abc"]
    of_v1 = to_markdown(replace(SMALL, protocol=PROTOCOL, coverage={"blur": 0.1234}))
    assert cells(section(of_v1, "Inputs"), "blur") == ["blur", "no", "12.3%", "abc"]


def test_a_table_leaves_out_systems_that_it_says_nothing_of(evaluation: Evaluation) -> None:
    found = section(to_markdown(replace(SMALL, kinds=("all",))), "Occlusion IoU, by kind")
    assert cells(found, "ours")[2] == "0.912"
    assert "copy" not in found
    assert "Occlusion IoU, by kind" not in to_markdown(evaluation.report)


def test_the_grid_shows_input_truth_and_every_system(evaluation: Evaluation) -> None:
    grid = draw_grid(take_examples(evaluation, SYSTEMS, SOURCE))
    lines = 2 * len(evaluation.report.kinds) + 3
    height, width = grid.shape[0] // lines, grid.shape[1] // (2 + len(SYSTEMS))
    assert grid.shape[:2] == (height * lines, width * (2 + len(SYSTEMS)))
    tiles = grid.reshape(lines, height, 4, width, 3).transpose(0, 2, 1, 3, 4)[:, :, 22 : 22 + 256, :256]
    truths = [read_gradient(record.name) for record in RECORDS]
    for line in tiles:
        shown, truth, copied, filled = line
        assert any(np.array_equal(truth, known) for known in truths)
        np.testing.assert_array_equal(copied, shown)
        changed = (filled != truth).any(axis=2)
        assert len(np.unique(filled[changed], axis=0)) == 1  # the mean colour


def test_the_grid_ends_with_the_worst_the_median_and_the_best_of_the_first_system(
    evaluation: Evaluation,
) -> None:
    holes = sorted(
        (value, m.name, m.kind)
        for m in evaluation.measurements
        if m.system == "copy" and (value := m.values["hole", "psnr"]) is not None
    )
    grid = draw_grid(take_examples(evaluation, SYSTEMS, SOURCE))
    lines = np.split(grid, 2 * len(evaluation.report.kinds) + 3)
    for line, (_, name, _) in zip(lines[-3:], (holes[0], holes[3], holes[-1]), strict=True):
        np.testing.assert_array_equal(line[22 : 22 + 256, 260 : 260 + 256], read_gradient(name))


def test_a_report_is_four_files(tmp_path: Path, evaluation: Evaluation) -> None:
    folder = tmp_path / "new" / "report"
    write_report(folder, evaluation, SYSTEMS, SOURCE)
    assert sorted(path.name for path in folder.iterdir()) == [
        "grid.png",
        "report.html",
        "report.json",
        "report.md",
    ]
    text = (folder / "report.json").read_text(encoding="utf-8")
    assert EvaluationReport.from_json(text) == evaluation.report
    assert (folder / "report.md").read_text(encoding="utf-8") == to_markdown(evaluation.report)
    examples = take_examples(evaluation, SYSTEMS, SOURCE)
    assert (folder / "report.html").read_text(encoding="utf-8") == to_html(evaluation.report, examples)
    np.testing.assert_array_equal(read_image(folder / "grid.png"), draw_grid(examples))


def test_a_folder_that_holds_something_is_refused_without_force(tmp_path: Path) -> None:
    check_folder(tmp_path / "new" / "report", force=False)
    assert not (tmp_path / "new").exists()
    check_folder(tmp_path, force=False)
    (tmp_path / "cache").mkdir()  # of a run that was stopped
    check_folder(tmp_path, force=False)
    (tmp_path / "file").write_text("")
    check_folder(tmp_path, force=True)
    with pytest.raises(OutputError, match="not empty; choose another folder or add --force"):
        check_folder(tmp_path, force=False)
    with pytest.raises(OutputError, match="is a file"):
        check_folder(tmp_path / "file", force=True)


def test_a_folder_that_may_not_be_written_to_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A superuser may write everywhere, so the system's answer is replaced.
    monkeypatch.setattr("os.access", lambda path, mode: path != tmp_path)
    with pytest.raises(OutputError, match="cannot write to"):
        check_folder(tmp_path / "new" / "report", force=False)
