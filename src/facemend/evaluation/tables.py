"""Tables of a report, in Markdown and for the README."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from facemend.errors import FacemendError
from facemend.evaluation.protocol import CONDITIONS, HOLE_BINS, UNCHANGED, V1, is_frozen
from facemend.evaluation.results import ALL, EVERYTHING, EvaluationReport, Group, Measure, SystemEntry
from facemend.evaluation.statistics import ATTRIBUTES, COPY
from facemend.evaluation.systems import FIRST_PICTURES
from facemend.occlusion import Extent
from facemend.terminal import printable

Column = Callable[[EvaluationReport, str, Group], str]
"""Report, system, group of pictures -> the text of a cell."""

EMPTY = "–"
_PERCENT = {"sharpness", "false_edits", "interval_coverage", "gradient", "gradient_p95"}
_DIGITS = {"psnr": 2, "ssim": 4, "ms_ssim": 4, "frechet_identity": 4, "fid": 2}


def mean_of(measure: Measure) -> Column:
    """The mean of a measure, and the number of perfect pictures that are counted apart."""

    def text(report: EvaluationReport, system: str, group: Group) -> str:
        row = report.find(system, measure, group)
        if row is None:
            return EMPTY
        mean = EMPTY if row.mean is None else number(row.mean, measure)
        return f"{mean} (+{row.apart} perfect)" if row.apart and measure[1] == "psnr" else mean

    return text


def mean_with_interval(measure: Measure) -> Column:
    """The mean of a measure, and its interval in brackets."""

    def text(report: EvaluationReport, system: str, group: Group) -> str:
        mean = mean_of(measure)(report, system, group)
        row = report.find(system, measure, group)
        return mean if row is None else mean + _interval(row.low, row.high, measure)

    return text


def mean_with_count(measure: Measure) -> Column:
    """The mean of a measure, its interval, and its number of pictures."""

    def text(report: EvaluationReport, system: str, group: Group) -> str:
        row = report.find(system, measure, group)
        mean = mean_with_interval(measure)(report, system, group)
        return mean if row is None else f"{mean}, n = {row.n}"

    return text


def two_means(first: Measure, second: Measure) -> Column:
    """The means of two measures."""

    def text(report: EvaluationReport, system: str, group: Group) -> str:
        return " / ".join(mean_of(measure)(report, system, group) for measure in (first, second))

    return text


def decibels_and_ssim(region: str) -> Column:
    """PSNR and SSIM of a region."""
    return two_means((region, "psnr"), (region, "ssim"))


def over_copy(report: EvaluationReport, system: str, group: Group) -> str:
    """The gain of the hole's PSNR over the unchanged input, on the same pictures."""
    if system == COPY:
        return EMPTY
    return difference(report, system, COPY, ("hole", "psnr"), group.kind)


def difference(report: EvaluationReport, system: str, other: str, measure: Measure, kind: str = ALL) -> str:
    """The mean difference of two systems with its interval."""
    found = report.compare(system, other, measure, kind)
    if found is None or found.difference is None:
        return EMPTY
    return signed(found.difference, found.low, found.high, measure)


def signed(value: float, low: float | None, high: float | None, measure: Measure) -> str:
    """A difference with its sign and its interval."""
    return f"{'' if value < 0 else '+'}{number(value, measure)}{_interval(low, high, measure)}"


def change_under(condition: str, unchanged: str) -> Column:
    """The change of the hole's PSNR under a condition, against the same inputs unchanged."""

    def text(report: EvaluationReport, system: str, group: Group) -> str:
        rows = [report.find(system, ("hole", "psnr"), Group(condition=c)) for c in (condition, unchanged)]
        means = [row.mean for row in rows if row is not None and row.mean is not None]
        return signed(means[0] - means[1], None, None, ("hole", "psnr")) if len(means) == 2 else EMPTY

    return text


def number(value: float, measure: Measure) -> str:
    """A score with its usual number of digits."""
    metric = measure[1]
    return f"{value:.1%}" if metric in _PERCENT else f"{value:.{_DIGITS.get(metric, 3)}f}"


def _interval(low: float | None, high: float | None, measure: Measure) -> str:
    if low is None or high is None:
        return ""
    return f" ({number(low, measure)} to {number(high, measure)})"


HOLE: Measure = ("hole", "psnr")
_IOU: Measure = ("occlusion", "iou")
_SHARPNESS: Measure = ("hole", "sharpness")
_COVERAGE: Measure = ("hole", "interval_coverage")
_SEAM: Measure = ("seam", "gradient")
_SEAM_HIGH: Measure = ("seam", "gradient_p95")
_SEAM_SSIM: Measure = ("seam", "ssim")
_SLOW = {
    "MS-SSIM": ("composite", "ms_ssim"),
    "identity distance": ("composite", "identity"),
    "Fréchet distance of identity": ("composite", "frechet_identity"),
    "LPIPS": ("composite", "lpips"),
    "FID": ("composite", "fid"),
}
EXPLANATION = (
    "*Hole*: PSNR of the delivered picture inside the true occlusion only. *Over copy*: its gain over the "
    "unchanged input, on the same pictures.",
    "*Composite*: PSNR / SSIM of the whole delivered picture. Small holes flatter it: see `copy`.",
    "*Raw*: PSNR / SSIM of the system's own whole picture.",
    "*IoU*: the occlusion found against the true one. *Given*: the system gets the true one. Blind systems "
    "find it themselves.",
    "*Sharpness*: detail in the hole as a share of the truth's.",
    "*Seam*: gradient across the true occlusion's edge, within 2 px of it, as a share of the truth's: the "
    "mean over the pictures, and their 95th percentile. 80% to 130% is good.",
    "*False edits*: share of pictures without occlusion in which more than 1% of the pixels change.",
    "PSNR is in dB, the mean over the pictures. SSIM follows Wang et al. 2004. In brackets: 95% "
    "interval, bootstrapped over people.",
)
"""The terms of the tables, with *emphasis* and `code` as in Markdown."""


@dataclass(frozen=True)
class Table:
    """Lines of text under a header."""

    header: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]

    def to_markdown(self) -> str:
        """As Markdown whose columns are aligned in plain text."""
        cells = [tuple(map(markdown, line)) for line in (self.header, *self.lines)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        cells.insert(1, tuple("-" * width for width in widths))
        return "\n".join(
            "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
            for line in cells
        )


def short_table(report: EvaluationReport) -> str:
    """One line for each system: the hole by kind, the composite and the IoU, as Markdown."""
    columns: dict[str, tuple[Column, Group]] = {"hole dB": (mean_of(HOLE), EVERYTHING)}
    columns |= {kind: (mean_of(HOLE), Group(kind=kind)) for kind in report.kinds}
    columns |= {
        "composite dB / SSIM": (decibels_and_ssim("composite"), EVERYTHING),
        "IoU": (mean_of(_IOU), EVERYTHING),
    }
    return _by_system(report, columns).to_markdown()


def readme_table(report: EvaluationReport) -> str:
    """The table of the README, as Markdown."""
    columns: dict[str, Column] = {
        "hole dB": mean_with_interval(HOLE),
        "over copy": over_copy,
        "composite dB / SSIM": decibels_and_ssim("composite"),
        "IoU": mean_of(_IOU),
        "sharpness": mean_of(_SHARPNESS),
    }
    return _everything(report, columns).to_markdown()


def summary(report: EvaluationReport) -> Table:
    """All kinds together, one line for each system."""
    columns: dict[str, Column] = {
        "hole dB": mean_with_interval(HOLE),
        "over copy": over_copy,
        "composite dB / SSIM": decibels_and_ssim("composite"),
        "raw dB / SSIM": decibels_and_ssim("raw"),
        "IoU": mean_of(_IOU),
        "sharpness": mean_of(_SHARPNESS),
        "false edits": mean_of(("unoccluded", "false_edits")),
    }
    return _everything(report, columns)


def details(report: EvaluationReport) -> dict[str, Table]:
    """Every other table by its title, without empty ones."""
    kinds = {kind: Group(kind=kind) for kind in report.kinds}
    cuts = kinds | {extent.value: Group(extent=extent) for extent in Extent}
    cuts |= {f"hole {size}": Group(hole_bin=size) for size in HOLE_BINS}
    measured = {row.group for row in report.rows}
    cuts = {label: group for label, group in cuts.items() if group in measured}
    first = f"the first {min(FIRST_PICTURES, report.pictures)} pictures"
    tables = {
        "Hole dB, by kind, extent and size": _cut(report, mean_of(HOLE), cuts),
        "Composite dB / SSIM, by kind": _cut(report, decibels_and_ssim("composite"), kinds),
        "Occlusion IoU, by kind": _cut(report, mean_of(_IOU), kinds),
        "Sharpness, by kind": _cut(report, mean_of(_SHARPNESS), kinds),
        "Truth within the 90% interval, by kind": _cut(report, mean_of(_COVERAGE), kinds),
        "Seam, by kind: mean / 95th percentile": _cut(report, two_means(_SEAM, _SEAM_HIGH), kinds),
        "SSIM within 8 px of the seam, by kind": _cut(report, mean_of(_SEAM_SSIM), kinds),
        **_people(report),
        "Hole dB: the best group of people minus the worst": _spreads(report),
        "Published beside measured, on the whole picture": _published(report),
        "Same pictures, same people: the difference": _differences(report),
        f"More metrics, on {first}": _slow(report),
        f"Hole dB under harder conditions, on {first}": _robustness(report),
        "Hole dB, people with an attribute minus people without it": _gaps(report),
        "Left out": Table(("metric", "why"), tuple(report.left_out.items())),
        "Systems": Table(
            ("system", "evaluated people in its training", "pictures", "ms a face", "peak MB", "sha256"),
            tuple(map(_system_line, report.systems)),
        ),
        "Inputs": _inputs(report),
    }
    return {title: table for title, table in tables.items() if table.lines and len(table.header) > 1}


def head(report: EvaluationReport) -> str:
    """What was measured, in a sentence."""
    return (
        f"{report.protocol}, facemend {report.facemend}: {report.pictures} pictures of "
        f"{report.people} people ({report.source}, {report.split} split), each under "
        f"{', '.join(report.kinds)}."
    )


def to_markdown(report: EvaluationReport) -> str:
    """The whole report: what was measured, the summary, every table, and the command that repeats it."""
    tables = {"All kinds together": summary(report)} | details(report)
    parts = [
        f"# Evaluation\n\n{markdown(head(report))}\n",
        "\n".join(f"- {line}" for line in EXPLANATION) + "\n",
    ]
    parts += [f"## {title}\n\n{table.to_markdown()}\n" for title, table in tables.items()]
    if report.command:
        parts.append(f"## Again\n\n{fenced(report.command, 'bash')}\n")
    return "\n".join(parts)


def _everything(report: EvaluationReport, columns: Mapping[str, Column]) -> Table:
    return _by_system(report, {label: (cell, EVERYTHING) for label, cell in columns.items()})


def _cut(report: EvaluationReport, cell: Column, groups: Mapping[str, Group]) -> Table:
    return _by_system(report, {label: (cell, group) for label, group in groups.items()})


def _by_system(report: EvaluationReport, columns: Mapping[str, tuple[Column, Group]]) -> Table:
    """One line for each system, without systems that have no score here."""
    lines = []
    for system in report.systems:
        cells = [cell(report, system.name, group) for cell, group in columns.values()]
        if set(cells) - {EMPTY, f"{EMPTY} / {EMPTY}"}:
            lines.append((_label(report, system), "blind" if system.blind else "given", *cells))
    return Table(("system", "occlusion", *columns), tuple(lines))


def _label(report: EvaluationReport, system: SystemEntry) -> str:
    """Its name, with the number of pictures if it was not measured on all."""
    return system.name if system.pictures == report.pictures else f"{system.name}, first {system.pictures}"


def _slow(report: EvaluationReport) -> Table:
    measured = {(row.region, row.metric) for row in report.rows}
    return _everything(
        report, {label: mean_with_interval(m) for label, m in _SLOW.items() if m in measured}
    )


def _robustness(report: EvaluationReport) -> Table:
    unchanged = {UNCHANGED: (mean_of(HOLE), Group(condition=UNCHANGED))}
    harder = {c: (change_under(c, UNCHANGED), EVERYTHING) for c in CONDITIONS if c != UNCHANGED}
    return _by_system(report, unchanged | harder)


def _differences(report: EvaluationReport) -> Table:
    measures = {"hole dB": HOLE, "composite SSIM": ("composite", "ssim"), "sharpness": _SHARPNESS}
    pairs = dict.fromkeys((c.system, c.other) for c in report.comparisons)
    lines = [
        (f"{own} minus {other}", *(difference(report, own, other, m) for m in measures.values()))
        for own, other in pairs
    ]
    return Table(("systems", *measures), tuple(lines))


def _gaps(report: EvaluationReport) -> Table:
    found = {(g.system, g.attribute): g for g in report.gaps if (g.region, g.metric) == HOLE}
    attributes = [name for name in ATTRIBUTES if any(name == attribute for _, attribute in found)]
    lines = []
    for system in dict.fromkeys(system for system, _ in found):
        gaps = [found.get((system, attribute)) for attribute in attributes]
        lines.append((system, *(signed(g.gap, g.low, g.high, HOLE) if g else EMPTY for g in gaps)))
    return Table(("system", *attributes), tuple(lines))


def _people(report: EvaluationReport) -> dict[str, Table]:
    """The hole by group of people, a table for each trait. Empty if the protocol has no groups."""
    groups = {row.people: Group(people=row.people) for row in report.rows if row.people != ALL}
    traits = dict.fromkeys(label.partition(": ")[0] for label in groups)
    return {
        f"Hole dB, by {trait} (pictures)": _cut(
            report,
            mean_with_count(HOLE),
            {
                label.partition(": ")[2]: groups[label]
                for label in sorted(groups)
                if label.startswith(f"{trait}: ")
            },
        )
        for trait in traits
    }


def _spreads(report: EvaluationReport) -> Table:
    lines = [
        (s.system, s.trait, s.best, s.worst, signed(s.gap, s.low, s.high, (s.region, s.metric)))
        for s in report.spreads
    ]
    return Table(("system", "trait", "best", "worst", "gap"), tuple(lines))


def _published(report: EvaluationReport) -> Table:
    if not report.published:
        return Table((), ())
    whole = [
        mean_with_interval(measure) for measure in (("composite", "psnr"), ("composite", "ssim"), HOLE)
    ]
    lines = [
        (
            _label(report, system),
            _coverage(report),
            *(cell(report, system.name, EVERYTHING) for cell in whole),
        )
        for system in report.systems
    ]
    lines += [
        (f"{p.name}, as published", EMPTY, f"{p.psnr:.2f}", f"{p.ssim:.4f}", EMPTY)
        for p in report.published
    ]
    header = ("system", "masked share", "PSNR, dB", "SSIM", "hole dB")
    return Table(header, tuple(lines))


def _coverage(report: EvaluationReport) -> str:
    """The mean share of the picture that is occluded."""
    return f"{np.mean(list(report.coverage.values())):.1%}" if report.coverage else EMPTY


def _system_line(system: SystemEntry) -> tuple[str, ...]:
    people = {"disjoint": "none", "none": "none (it does not learn)"}
    return (
        system.name,
        people.get(system.training_people, system.training_people),
        str(system.pictures),
        EMPTY if system.latency_ms is None else f"{system.latency_ms:.1f}",
        EMPTY if system.peak_memory_mb is None else f"{system.peak_memory_mb:.0f}",
        system.sha256 or EMPTY,
    )


def _inputs(report: EvaluationReport) -> Table:
    header = ["kind", "mean hole, share of the picture", "sha256 of all inputs"]
    lines = []
    for kind, sha256 in report.inputs_sha256.items():
        share = report.coverage.get(kind)
        line = [kind, EMPTY if share is None else f"{share:.1%}", sha256]
        if report.protocol == V1.name:
            line.insert(1, "yes" if is_frozen(report.split, kind, sha256) else "no")
        lines.append(tuple(line))
    if report.protocol == V1.name:
        header.insert(1, f"the frozen inputs of {report.protocol}")
    return Table(tuple(header), tuple(lines))


BEGIN, END = "<!-- benchmark: written by tools/readme_table.py -->", "<!-- benchmark: end -->"


def put_table(text: str, report: EvaluationReport) -> str:
    """A document with the report's table between BEGIN and END, instead of an earlier table.

    Raises:
        FacemendError: BEGIN or END is missing.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise FacemendError(f"the document has no lines {BEGIN} … {END} for the table")
    return f"{before}{BEGIN}\n{readme_table(report)}\n\n{markdown(head(report))}\n{END}{after}"


_MARKDOWN = ("\\", "`", "*", "<", ">", "|", "&")


def markdown(text: str) -> str:
    """One line of text that Markdown shows as it is: no tags, links, emphasis, code or cells of a table."""
    said = printable(text)
    for sign in _MARKDOWN:
        said = said.replace(sign, f"\\{sign}")
    return said.replace("](", "]\\(").replace("://", "\\://")


def fenced(text: str, language: str = "") -> str:
    """A line of code as Markdown's block, which nothing in it can end."""
    said = printable(text)
    fence = "```"
    while fence in said:
        fence += "`"
    return f"{fence}{language}\n{said}\n{fence}"
