"""The figures of a report as text."""

from collections.abc import Callable, Sequence

from facemend.evaluation.protocol import HOLE_BINS
from facemend.evaluation.results import ALL, EvaluationReport, Measure, Row, SystemEntry
from facemend.occlusion import Extent

HOLE: Measure = ("hole", "psnr")
_IOU: Measure = ("occlusion", "iou")
_NOTHING = "–"

_EXPLANATION = """\
*Hole*: PSNR of the delivered picture inside the true occlusion alone. *Composite*: the whole delivered \
picture, PSNR / SSIM; it flatters small holes, so compare it with `copy`, the input unchanged. *Raw*: the \
system's own whole picture. *IoU*: occlusion found against the true one. *Sharpness*: detail in the hole as a \
share of the truth's. *False edits*: share of pictures without occlusion in which more than 1% of the pixels \
change. PSNR is in dB, the mean of the pictures' values; SSIM is Wang et al. 2004. In brackets: 95% interval, \
bootstrapped over people. *Given*: the system was shown the true occlusion, the others find it themselves."""


def short_table(report: EvaluationReport) -> str:
    """Markdown: a system a line; the hole by kind, then the composite and the occlusion found."""
    header = ["system", "occlusion", "hole dB", *report.kinds, "composite", "IoU"]
    return _table(
        header,
        [
            [
                system.name,
                _found_or_given(system),
                _figure(report.find(system.name, HOLE), 2),
                *(_figure(report.find(system.name, HOLE, kind=kind), 2) for kind in report.kinds),
                _composite(report, system.name),
                _figure(report.find(system.name, _IOU), 3),
            ]
            for system in report.systems
        ],
    )


def to_markdown(report: EvaluationReport) -> str:
    """The whole report: what was measured, the summary, the cuts by kind, extent and size, the hashes."""
    names = [system.name for system in report.systems]
    kinds = [(kind, {"kind": kind}) for kind in report.kinds]
    extents = [(str(extent), {"extent": str(extent)}) for extent in Extent]
    sizes = [(size, {"hole_bin": size}) for size in HOLE_BINS]

    def hole(system: str, group: dict[str, str]) -> str:
        return _figure(report.find(system, HOLE, **group), 2)

    parts = [
        "# Evaluation",
        f"{report.protocol}, facemend {report.facemend}: {report.pictures} pictures of {report.people} people "
        f"({report.source}, {report.split} split), each under {', '.join(report.kinds)}.",
        _EXPLANATION,
        "## All kinds together",
        _table(
            ["system", "occlusion", "hole", "over copy", "composite", "raw", "IoU", "sharpness", "false edits"],
            [_summary(report, system) for system in report.systems],
        ),
    ]
    return "\n\n".join(parts) + "\n"
