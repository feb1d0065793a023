import csv
from pathlib import Path

import pytest

from facemend.datasets import Split, open_source
from facemend.datasets.faces import MEASURE
from facemend.errors import SourceError, UsageError
from facemend.evaluation.evaluate import Plan, evaluate
from facemend.evaluation.protocol import diverse, join_sources, open_held_out
from facemend.evaluation.results import EvaluationReport, Group
from facemend.evaluation.systems import BASELINES
from facemend.evaluation.tables import to_markdown
from facemend.io import write_png
from tests.tiny_celeba import gradient, make_celeba

HOLE = ("hole", "psnr")
COLUMNS = (
    "file", "use", "source", "person", "age", "sex", "ITA", "yaw",
    "left_eye", "right_eye", "nose", "left_mouth", "right_mouth",
)  # fmt: skip
POINTS = ("69 111", "107 111", "88 135", "73 152", "105 152")


def row(number: int, use: str = "measure", source: str = "press", **traits: str) -> tuple[str, ...]:
    said = {"age": "", "sex": "", "ITA": "", "yaw": ""} | traits
    name = f"{source}_{number:03d}.png"
    return name, use, source, f"{source}:{number}", *said.values(), *POINTS


def write_faces(folder: Path, rows: list[tuple[str, ...]]) -> Path:
    for number, each in enumerate(rows):
        write_png(folder / "images" / each[0], gradient(178, 218, number))
    with (folder / "faces.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    return folder


def test_measure_only_faces_and_the_val_people_of_the_others_are_held_out(tmp_path: Path) -> None:
    rows = [row(n) for n in range(3)] + [row(n, "train", "web") for n in range(60)]
    faces = open_held_out(write_faces(tmp_path / "faces", rows))
    press = [r for r in faces.records if r.name.startswith("press")]
    web = [r for r in faces.records if r.name.startswith("web")]
    assert len(press) == 3
    assert 0 < len(web) < 12  # one in twenty
    assert all(record.use == MEASURE for record in press)
    assert {r.identity for r in press} == {"faces:press:0", "faces:press:1", "faces:press:2"}


def test_pictures_of_celebas_own_people_are_left_out(tmp_path: Path) -> None:
    rows = [row(0)] + [row(n, "train", "celebw") for n in range(60)]
    assert [r.name for r in open_held_out(write_faces(tmp_path / "faces", rows)).records] == [
        "press_000.png"
    ]


@pytest.mark.parametrize(
    ("traits", "group"),
    [
        ({"age": "12"}, "age: under 13"),
        ({"age": "60"}, "age: 60 and older"),
        ({"sex": "female"}, "sex: female"),
        ({"ITA": "-10.1"}, "skin: dark"),
        ({"ITA": "-10"}, "skin: medium"),
        ({"ITA": "28.1"}, "skin: light"),
        ({"yaw": "-0.26"}, "yaw: turned"),
        ({"yaw": "0.2"}, "yaw: half turned"),
        ({"yaw": "0.09"}, "yaw: frontal"),
    ],
)
def test_people_are_put_into_groups_by_the_table(
    tmp_path: Path, traits: dict[str, str], group: str
) -> None:
    (record,) = open_held_out(write_faces(tmp_path / "faces", [row(0, **traits)])).records
    assert diverse().groups_of(record) == (group, "source: press")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> EvaluationReport:
    rows = [row(n, ITA="-30" if n < 10 else "60") for n in range(20)]
    faces = open_held_out(write_faces(tmp_path_factory.mktemp("few") / "faces", rows))
    systems = [BASELINES["copy"]]
    return evaluate(systems, faces, ["nose_mask"], split="test", plan=Plan(protocol=diverse())).report


def test_the_hole_is_reported_by_group_of_people(report: EvaluationReport) -> None:
    assert report.protocol == "diverse"
    found = [report.find("copy", HOLE, Group(people=f"skin: {skin}")) for skin in ("dark", "light")]
    assert [r.n for r in found if r is not None] == [10, 10]
    everything = report.find("copy", HOLE)
    means = [r.mean for r in found if r is not None and r.mean is not None]
    assert everything is not None
    assert everything.mean == pytest.approx(sum(means) / 2, abs=1e-5)


def test_the_gap_is_between_the_best_and_the_worst_group(report: EvaluationReport) -> None:
    (spread,) = report.spreads  # all are of one source, and nothing is said of age, sex and yaw
    best, worst = (
        report.find("copy", HOLE, Group(people=f"skin: {s}")) for s in (spread.best, spread.worst)
    )
    assert spread.trait == "skin"
    assert best is not None
    assert worst is not None
    assert best.mean is not None
    assert worst.mean is not None
    assert spread.gap == pytest.approx(best.mean - worst.mean, abs=1e-5)
    assert spread.gap > 0
    assert spread.low < spread.gap < spread.high


def test_groups_stand_in_tables_and_in_json(report: EvaluationReport) -> None:
    text = to_markdown(report)
    assert "## Hole dB, by skin" in text
    assert "## Hole dB: the best group of people minus the worst" in text
    assert EvaluationReport.from_json(report.to_json()) == report


def test_a_split_cannot_be_chosen_and_the_table_is_needed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="knows its held-out faces"):
        diverse().open_faces([str(tmp_path)], Split.VAL, None)
    with pytest.raises(SourceError, match=r"needs images/ and faces\.csv"):
        diverse().open_faces([str(tmp_path)], Split.TEST, None)
    write_faces(tmp_path / "faces", [row(0, ITA="pale")])
    with pytest.raises(SourceError, match=r"faces\.csv, line 2"):
        diverse().open_faces([str(tmp_path / "faces")], Split.TEST, None)


def test_sources_are_joined_in_an_order_of_their_own(tmp_path: Path) -> None:
    celeba = open_source(make_celeba(tmp_path / "celeba"))
    faces = open_held_out(write_faces(tmp_path / "faces", [row(n) for n in range(6)]))
    joined = join_sources([celeba, faces])
    assert (joined.name, len(joined)) == ("CelebA + faces", 12)
    for record in joined.records:
        part = celeba if record.name.endswith("jpg") else faces
        assert (joined.crop(record) == part.crop(record)).all()
    assert len({record.name[:5] for record in joined.records[:6]}) > 1
    with pytest.raises(UsageError, match="picture of one name"):
        join_sources([faces, faces])
