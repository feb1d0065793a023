"""What a table says of one system in one group of pictures, in words."""

from collections.abc import Callable

from facemend.evaluation.comparisons import COPY
from facemend.evaluation.results import ALL, EvaluationReport, Group, Measure

Cell = Callable[[EvaluationReport, str, Group], str]
"""Report, system, group of pictures -> text."""

NOTHING = "–"
_PERCENT = {"sharpness", "false_edits", "interval_coverage", "gradient", "gradient_p95"}
_DIGITS = {"psnr": 2, "ssim": 4, "ms_ssim": 4, "frechet_identity": 4, "fid": 2}


def mean_of(measure: Measure) -> Cell:
    """The mean of a measure, and how many perfect pictures were counted apart."""

    def cell(report: EvaluationReport, system: str, group: Group) -> str:
        row = report.find(system, measure, group)
        if row is None:
            return NOTHING
        mean = NOTHING if row.mean is None else number(row.mean, measure)
        return f"{mean} (+{row.apart} perfect)" if row.apart and measure[1] == "psnr" else mean

    return cell


def mean_with_interval(measure: Measure) -> Cell:
    """The mean of a measure, and its interval in brackets."""

    def cell(report: EvaluationReport, system: str, group: Group) -> str:
        mean = mean_of(measure)(report, system, group)
        row = report.find(system, measure, group)
        return mean if row is None else mean + _interval(row.low, row.high, measure)

    return cell


def counted(measure: Measure) -> Cell:
    """The mean of a measure, its interval, and how many pictures it is of."""

    def cell(report: EvaluationReport, system: str, group: Group) -> str:
        row = report.find(system, measure, group)
        mean = mean_with_interval(measure)(report, system, group)
        return mean if row is None else f"{mean}, n = {row.n}"

    return cell


def both(first: Measure, second: Measure) -> Cell:
    """The means of two measures."""

    def cell(report: EvaluationReport, system: str, group: Group) -> str:
        return " / ".join(mean_of(measure)(report, system, group) for measure in (first, second))

    return cell


def decibels_and_ssim(region: str) -> Cell:
    """PSNR and SSIM of a region."""
    return both((region, "psnr"), (region, "ssim"))


def over_copy(report: EvaluationReport, system: str, group: Group) -> str:
    """What the hole's PSNR gains over the input, on the same pictures."""
    if system == COPY:
        return NOTHING
    return difference(report, system, COPY, ("hole", "psnr"), group.kind)


def difference(report: EvaluationReport, system: str, other: str, measure: Measure, kind: str = ALL) -> str:
    """The mean difference of two systems with its interval."""
    found = report.compare(system, other, measure, kind)
    if found is None or found.difference is None:
        return NOTHING
    return signed(found.difference, found.low, found.high, measure)


def signed(value: float, low: float | None, high: float | None, measure: Measure) -> str:
    """A difference with its sign and its interval."""
    return f"{'' if value < 0 else '+'}{number(value, measure)}{_interval(low, high, measure)}"


def under(condition: str, unchanged: str) -> Cell:
    """The hole's PSNR under a condition, as what it loses against the same inputs unchanged."""

    def cell(report: EvaluationReport, system: str, group: Group) -> str:
        rows = [report.find(system, ("hole", "psnr"), Group(condition=c)) for c in (condition, unchanged)]
        means = [row.mean for row in rows if row is not None and row.mean is not None]
        return signed(means[0] - means[1], None, None, ("hole", "psnr")) if len(means) == 2 else NOTHING

    return cell


def number(value: float, measure: Measure) -> str:
    """A figure in its usual digits."""
    metric = measure[1]
    return f"{value:.1%}" if metric in _PERCENT else f"{value:.{_DIGITS.get(metric, 3)}f}"


def _interval(low: float | None, high: float | None, measure: Measure) -> str:
    if low is None or high is None:
        return ""
    return f" ({number(low, measure)} to {number(high, measure)})"
