"""Means and their intervals: from the figures of single pictures to the rows of a report."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from facemend.evaluation.figures import FRECHET
from facemend.evaluation.protocol import PROTOCOL, hole_bin
from facemend.evaluation.results import ALL, AS_DRAWN, EVERYTHING, UNITS, Group, Measure, Measurement, Row
from facemend.evaluation.store import Vectors
from facemend.metrics.frechet import frechet_distance
from facemend.occlusion import seed_of

_DRAWS = 1000
_INTERVAL_PERCENT = (2.5, 97.5)
_HIGH_PERCENTILE = 95
_PERCENTILES: Mapping[Measure, Measure] = {("seam", "gradient"): ("seam", "gradient_p95")}
"""Measures whose 95th percentile over the pictures is reported, too, and the name of that."""
DIGITS = 6
"""Rounded away: what sums in another order, as other machines do them, would change."""


class PeopleBootstrap:
    """Draws people with replacement, always the same draws for the same people.

    Pictures of one person are alike, so people are drawn, not pictures. All systems meet the same
    draws, so that their differences can be compared draw by draw.

    Efron, Tibshirani, "An Introduction to the Bootstrap", 1993 (percentile interval).
    """

    def __init__(self, people: Iterable[str]) -> None:
        self._places = {person: place for place, person in enumerate(sorted(set(people)))}
        count = len(self._places)
        rng = np.random.default_rng(seed_of(PROTOCOL, "bootstrap", count))
        self._times_drawn = rng.multinomial(count, [1 / count] * count, _DRAWS).astype(np.float64)

    def interval(self, values: Sequence[float], people: Sequence[str]) -> tuple[float, float] | None:
        """The 95% interval of the mean of the values; None if they show fewer than two people.

        Args:
            values: one a picture.
            people: who is on each picture.
        """
        if len(set(people)) < 2:
            return None
        means = self.means(values, people)
        return percentiles(means)

    def means(self, values: Sequence[float], people: Sequence[str]) -> npt.NDArray[np.float64]:
        """The mean of the values in every draw, float64 (draws,); NaN where a draw has none of them."""
        places = [self._places[person] for person in people]
        sums = np.bincount(places, values, minlength=len(self._places))
        counts = np.bincount(places, minlength=len(self._places))
        pictures = self._times_drawn @ counts
        totals = self._times_drawn @ sums
        means = np.full(_DRAWS, np.nan)
        np.divide(totals, pictures, out=means, where=pictures > 0)
        return means

    def high_percentiles(self, values: Sequence[float], people: Sequence[str]) -> npt.NDArray[np.float64]:
        """The 95th percentile of the values in every draw, float64 (draws,); NaN where a draw has none."""
        order = np.argsort(values)
        ranked = np.asarray(values, dtype=np.float64)[order]
        places = np.array([self._places[person] for person in people])[order]
        drawn = self._times_drawn[:, places].cumsum(axis=1)
        wanted = drawn[:, -1:] * (_HIGH_PERCENTILE / 100)
        return np.where(drawn[:, -1] > 0, ranked[(drawn < wanted).sum(axis=1)], np.nan)


def percentiles(draws: npt.NDArray[np.float64]) -> tuple[float, float]:
    """The ends of the 95% interval of what was drawn; draws that are NaN do not count."""
    low, high = np.percentile(draws[np.isfinite(draws)], _INTERVAL_PERCENT)
    return float(low), float(high)


def average(measurements: Sequence[Measurement], bootstrap: PeopleBootstrap) -> tuple[Row, ...]:
    """The means of a report: every system and measure, over all pictures and every Group of them.

    Rows stand in the order of the systems, then of UNITS. A system has no row for what it was not
    measured in.

    Args:
        bootstrap: over all people on the pictures.
    """
    systems = list(dict.fromkeys(measurement.system for measurement in measurements))
    order = {
        (system, measure): (i, j) for i, system in enumerate(systems) for j, measure in enumerate(UNITS)
    }
    grouped: dict[tuple[str, Measure, Group], list[Measurement]] = {}
    for measurement in measurements:
        for measure in measurement.values:
            for group in _groups(measurement):
                grouped.setdefault((measurement.system, measure, group), []).append(measurement)
    keys = sorted(grouped, key=lambda key: order[key[:2]])
    rows = (
        row
        for system, measure, group in keys
        for row in _rows(system, measure, group, grouped[system, measure, group], bootstrap)
    )
    return tuple(sorted(rows, key=lambda row: order[row.system, (row.region, row.metric)]))


def frechet_rows(vectors: Mapping[tuple[str, Measure], Sequence[Vectors]]) -> tuple[Row, ...]:
    """Distances between all delivered pictures and all truths; a set has no interval.

    Args:
        vectors: by system and the measure whose features they are; a pair of features a picture.
    """
    return tuple(
        _frechet_row(system, FRECHET[measure], pairs) for (system, measure), pairs in vectors.items()
    )


def _frechet_row(system: str, measure: Measure, pairs: Sequence[Vectors]) -> Row:
    delivered, truths = np.stack(pairs).swapaxes(0, 1)
    return Row(
        system=system,
        kind=ALL,
        extent=ALL,
        hole_bin=ALL,
        condition=AS_DRAWN,
        region=measure[0],
        metric=measure[1],
        unit=UNITS[measure],
        mean=round(frechet_distance(delivered, truths), DIGITS) if len(pairs) > 1 else None,
        low=None,
        high=None,
        n=len(pairs),
        apart=0,
    )


def _groups(measurement: Measurement) -> Sequence[Group]:
    if measurement.condition != AS_DRAWN:
        return (Group(condition=measurement.condition),)
    if not measurement.coverage:
        return (EVERYTHING,)
    return (
        EVERYTHING,
        Group(kind=measurement.kind),
        Group(extent=measurement.extent),
        Group(hole_bin=hole_bin(measurement.coverage)),
        *(Group(people=label) for label in measurement.people),
    )


def _rows(
    system: str, measure: Measure, group: Group, members: Sequence[Measurement], bootstrap: PeopleBootstrap
) -> Iterable[Row]:
    """The mean of a measure and, for some measures, the 95th percentile."""
    found = [(value, m.person) for m in members if (value := m.values[measure]) is not None]
    values, people = [value for value, _ in found], [person for _, person in found]
    apart = len(members) - len(values)
    mean = float(np.mean(values)) if values else None
    yield _row(system, measure, group, mean, bootstrap.interval(values, people), len(values), apart)
    if measure in _PERCENTILES and values:
        several = len(set(people)) > 1
        interval = percentiles(bootstrap.high_percentiles(values, people)) if several else None
        high = float(np.percentile(values, _HIGH_PERCENTILE))
        yield _row(system, _PERCENTILES[measure], group, high, interval, len(values), apart)


def _row(
    system: str,
    measure: Measure,
    group: Group,
    value: float | None,
    interval: tuple[float, float] | None,
    n: int,
    apart: int,
) -> Row:
    region, metric = measure
    return Row(
        system=system,
        kind=group.kind,
        extent=group.extent,
        hole_bin=group.hole_bin,
        condition=group.condition,
        region=region,
        metric=metric,
        unit=UNITS[measure],
        mean=None if value is None else round(value, DIGITS),
        low=round(interval[0], DIGITS) if interval else None,
        high=round(interval[1], DIGITS) if interval else None,
        n=n,
        apart=apart,
        people=group.people,
    )
