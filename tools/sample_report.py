"""Writes docs/sample-report.html: the report's page over the two portraits that come with facemend.

    python tools/sample_report.py [MODEL]

Two people are no measurement; it shows what a report looks like, with faces that may be shown.
"""

import argparse
from pathlib import Path

from facemend.alignment import crop_face
from facemend.datasets import FaceRecord, FaceSource
from facemend.evaluation.evaluate import Plan, evaluate
from facemend.evaluation.external import open_systems
from facemend.evaluation.protocol import protocol_kinds
from facemend.evaluation.report import take_examples, to_html
from facemend.evaluation.scoring import open_slow_metrics
from facemend.evaluation.systems import BASELINES
from facemend.images import Image
from facemend.reconstruction.demo import read_portraits
from facemend.reconstruction.model import shipped_model_path

_OUT = Path(__file__).resolve().parents[1] / "docs/sample-report.html"


def main() -> None:
    """Reads the command line, measures and writes the page."""
    parser = argparse.ArgumentParser(description="Writes the sample report.")
    parser.add_argument("model", nargs="?", type=Path, help="the shipped one where none is named")
    model = parser.parse_args().model or shipped_model_path()
    systems = [*open_systems([model]), *BASELINES.values()]
    faces = portraits()
    command = "python tools/sample_report.py"
    plan = Plan(open_slow_metrics(), robustness=True, memory=True, command=command)
    evaluation = evaluate(systems, faces, protocol_kinds(), split="sample", plan=plan)
    _OUT.write_text(to_html(evaluation.report, take_examples(evaluation, systems, faces)), encoding="utf-8")


def portraits() -> FaceSource:
    """The portraits' canonical crops, a person each."""
    crops = {p.name: crop_face(p.photo, p.landmarks_px).image for p in read_portraits()}

    def read(name: str) -> Image:
        return crops[name]

    records = [FaceRecord(name, f"portrait:{name}") for name in crops]
    return FaceSource("the demo's portraits", records, read, "portraits")


if __name__ == "__main__":
    main()
