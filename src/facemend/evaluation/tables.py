"""The figures of a report as Markdown."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from facemend.evaluation.protocol import HOLE_BINS, is_frozen
from facemend.evaluation.results import EVERYTHING, EvaluationReport, Group, Measure, Row, SystemEntry
from facemend.occlusion import Extent

_Cell = Callable[[EvaluationReport, str, Group], str]
"""Writes what a report says of a system in a group of pictures."""

_NOTHING = "–"
_ABOUT = ("system", "evaluated people in its training", "ms a face", "sha256")
_EXPLANATION = """\
- *Hole*: PSNR of the delivered picture inside the true occlusion alone.
- *Composite*: PSNR / SSIM of the whole delivered picture. Small holes flatter it: compare it with `copy`,
  the input unchanged.
- *Raw*: PSNR / SSIM of the system's own whole picture.
- *IoU*: the occlusion found against the true one. *Given*: the system was shown the true one; blind systems
  find it themselves.
- *Sharpness*: detail in the hole as a share of the truth's.
- *False edits*: share of pictures without occlusion in which more than 1% of the pixels change.
- PSNR is in dB, the mean of the pictures' values; SSIM is that of Wang et al. 2004. In brackets: 95%
  interval, bootstrapped over people."""


def short_table(report: EvaluationReport) -> str:
    """A system a line: the hole by kind, then the composite and the occlusion found."""
    columns: dict[str, tuple[_Cell, Group]] = {"hole dB": (_hole, EVERYTHING)}
    columns |= {kind: (_hole, Group(kind=kind)) for kind in report.kinds}
    columns |= {"composite dB / SSIM": (_composite, EVERYTHING), "IoU": (_iou, EVERYTHING)}
    return _table(report, columns)


def to_markdown(report: EvaluationReport) -> str:
    """The whole report: what was measured, the summary, the cuts by kind, extent and size, the hashes."""
    kinds = {kind: Group(kind=kind) for kind in report.kinds}
    cuts = kinds | {extent.value: Group(extent=extent) for extent in Extent}
    cuts |= {f"hole {size}": Group(hole_bin=size) for size in HOLE_BINS}
    measured = {row.group for row in report.rows}
    cuts = {label: group for label, group in cuts.items() if group in measured}
    summary: dict[str, _Cell] = {
        "hole dB": _hole_with_interval,
        "over copy": _gain,
        "composite dB / SSIM": _composite,
        "raw dB / SSIM": _raw,
        "IoU": _iou,
        "sharpness": _sharpness,
        "false edits": _false_edits,
    }
    sections = {
        "All kinds together": _table(
            report, {label: (cell, EVERYTHING) for label, cell in summary.items()}
        ),
        "Hole dB, by kind, extent and size": _table(
            report, {x: (_hole, group) for x, group in cuts.items()}
        ),
        "Composite dB / SSIM, by kind": _table(
            report, {x: (_composite, group) for x, group in kinds.items()}
        ),
        "Occlusion IoU, by kind": _table(report, {x: (_iou, group) for x, group in kinds.items()}),
        "Systems": _grid(_ABOUT, map(_about, report.systems)),
        "Inputs": _grid(
            ["kind", f"the frozen inputs of {report.protocol}", "sha256 of all inputs"],
            [
                [kind, "yes" if is_frozen(report.split, kind, sha256) else "no", sha256]
                for kind, sha256 in report.inputs_sha256.items()
            ],
        ),
    }
    head = (
        f"# Evaluation\n\n{report.protocol}, facemend {report.facemend}: {report.pictures} pictures of "
        f"{report.people} people ({report.source}, {report.split} split), each under "
        f"{', '.join(report.kinds)}.\n\n{_EXPLANATION}\n"
    )
    return head + "".join(f"\n## {title}\n\n{body}\n" for title, body in sections.items() if body)


def _table(report: EvaluationReport, columns: Mapping[str, tuple[_Cell, Group]]) -> str:
    """A system a line, without those of which the report says nothing here; empty if that is all."""
    lines = []
    for system in report.systems:
        cells = [cell(report, system.name, group) for cell, group in columns.values()]
        if set(cells) != {_NOTHING}:
            lines.append([system.name, "blind" if system.blind else "given", *cells])
    return _grid(["system", "occlusion", *columns], lines) if lines else ""


def _grid(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table whose columns are aligned in plain text, too."""
    cells = [list(header), *map(list, lines)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    cells.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in cells
    )


def _about(system: SystemEntry) -> list[str]:
    people = {"disjoint": "none", "none": "none (it learnt nothing)"}
    return [
        system.name,
        people.get(system.training_people, system.training_people),
        f"{system.latency_ms:.1f}",
        system.sha256 or _NOTHING,
    ]


def _mean(report: EvaluationReport, system: str, group: Group, measure: Measure, digits: int) -> str:
    row = report.find(system, measure, group)
    if row is None:
        return _NOTHING
    mean = _NOTHING if row.mean is None else f"{row.mean:.{digits}f}"
    return f"{mean} (+{row.apart} perfect)" if row.apart and measure[1] == "psnr" else mean


def _hole(report: EvaluationReport, system: str, group: Group) -> str:
    return _mean(report, system, group, ("hole", "psnr"), 2)


def _hole_with_interval(report: EvaluationReport, system: str, group: Group) -> str:
    row = report.find(system, ("hole", "psnr"), group)
    mean = _hole(report, system, group)
    return mean if row is None or row.low is None else f"{mean} ({row.low:.2f} to {row.high:.2f})"


def _gain(report: EvaluationReport, system: str, group: Group) -> str:
    own, copied = (report.find(name, ("hole", "psnr"), group) for name in (system, "copy"))
    if own is None or copied is None or own.mean is None or copied.mean is None:
        return _NOTHING
    return f"{own.mean - copied.mean:+.2f}"


def _composite(report: EvaluationReport, system: str, group: Group) -> str:
    decibels = _mean(report, system, group, ("composite", "psnr"), 2)
    return f"{decibels} / {_mean(report, system, group, ('composite', 'ssim'), 4)}"


def _raw(report: EvaluationReport, system: str, group: Group) -> str:
    decibels = _mean(report, system, group, ("raw", "psnr"), 2)
    return f"{decibels} / {_mean(report, system, group, ('raw', 'ssim'), 4)}"


def _iou(report: EvaluationReport, system: str, group: Group) -> str:
    return _mean(report, system, group, ("occlusion", "iou"), 3)


def _sharpness(report: EvaluationReport, system: str, group: Group) -> str:
    return _share(report.find(system, ("hole", "sharpness"), group))


def _false_edits(report: EvaluationReport, system: str, group: Group) -> str:
    return _share(report.find(system, ("unoccluded", "false_edits"), group))


def _share(row: Row | None) -> str:
    return _NOTHING if row is None or row.mean is None else f"{row.mean:.1%}"
