"""Means, bootstrap intervals, and systems compared picture by picture."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import sqrt

import numpy as np
import numpy.typing as npt

from facemend.evaluation.protocol import PROTOCOL, hole_bin
from facemend.evaluation.results import (
    ALL,
    AS_DRAWN,
    EVERYTHING,
    UNITS,
    Comparison,
    Gap,
    Group,
    Measure,
    Measurement,
    Row,
    Spread,
    Vectors,
)
from facemend.evaluation.scoring import FRECHET
from facemend.files import seed_of
from facemend.metrics.network import frechet_distance

_DRAWS = 1000
_INTERVAL_PERCENT = (2.5, 97.5)
_HIGH_PERCENTILE = 95
_PERCENTILES: Mapping[Measure, Measure] = {("seam", "gradient"): ("seam", "gradient_p95")}
"""Measures whose 95th percentile over the pictures is reported as well, and its name."""
DIGITS = 6
"""Decimals that are kept. Beyond them, sums in another order differ, as on other machines."""


class PeopleBootstrap:
    """Draws people with replacement, always the same draws for the same people.

    Pictures of one person are alike, so people are drawn, not pictures. All systems get the same draws,
    so that their differences can be compared draw by draw.

    Efron, Tibshirani, "An Introduction to the Bootstrap", 1993 (percentile interval).
    """

    def __init__(self, people: Iterable[str]) -> None:
        self._indices = {person: index for index, person in enumerate(sorted(set(people)))}
        count = len(self._indices)
        rng = np.random.default_rng(seed_of(PROTOCOL, "bootstrap", count))
        self._times_drawn = rng.multinomial(count, [1 / count] * count, _DRAWS).astype(np.float64)

    def interval(self, values: Sequence[float], people: Sequence[str]) -> tuple[float, float] | None:
        """The 95% interval of the mean of the values, or None if they show fewer than two people.

        Args:
            values: one a picture.
            people: who is on each picture.
        """
        if len(set(people)) < 2:
            return None
        means = self.means(values, people)
        return percentiles(means)

    def means(self, values: Sequence[float], people: Sequence[str]) -> npt.NDArray[np.float64]:
        """The mean of the values in every draw, float64 (draws,), or NaN where a draw has none of them."""
        indices = [self._indices[person] for person in people]
        sums = np.bincount(indices, values, minlength=len(self._indices))
        counts = np.bincount(indices, minlength=len(self._indices))
        pictures = self._times_drawn @ counts
        totals = self._times_drawn @ sums
        means = np.full(_DRAWS, np.nan)
        np.divide(totals, pictures, out=means, where=pictures > 0)
        return means

    def high_percentiles(self, values: Sequence[float], people: Sequence[str]) -> npt.NDArray[np.float64]:
        """The 95th percentile of the values in every draw, float64 (draws,), or NaN if it has none."""
        order = np.argsort(values)
        ranked = np.asarray(values, dtype=np.float64)[order]
        indices = np.array([self._indices[person] for person in people])[order]
        drawn = self._times_drawn[:, indices].cumsum(axis=1)
        wanted = drawn[:, -1:] * (_HIGH_PERCENTILE / 100)
        return np.where(drawn[:, -1] > 0, ranked[(drawn < wanted).sum(axis=1)], np.nan)


def percentiles(draws: npt.NDArray[np.float64]) -> tuple[float, float]:
    """The 95% interval of the draws. Draws that are NaN are left out."""
    low, high = np.percentile(draws[np.isfinite(draws)], _INTERVAL_PERCENT)
    return float(low), float(high)


def average(measurements: Sequence[Measurement], bootstrap: PeopleBootstrap) -> tuple[Row, ...]:
    """The means of a report: every system and measure, over all pictures and every Group of them.

    Rows are in the order of the systems, then of UNITS. A system has no row for a measure that it was not
    measured by.

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
    """Distances between the sets of all delivered pictures and all truths. They have no interval.

    Args:
        vectors: a pair of features for each picture, by system and measure.
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


COPY = "copy"
ATTRIBUTES = ("Pale_Skin", "Young", "Male", "Eyeglasses", "No_Beard")
"""CelebA's attributes whose groups are compared: skin, age, gender presentation, glasses, beard."""
_GAP_MEASURES: tuple[Measure, ...] = (("hole", "psnr"), ("composite", "identity"))

_FEWEST_PEOPLE = 10
"""A smaller group is never called best or worst."""

_Picture = tuple[str, str]
_Table = dict[str, dict[_Picture, Measurement]]


def compare_systems(
    measurements: Sequence[Measurement], bootstrap: PeopleBootstrap
) -> tuple[Comparison, ...]:
    """The first system against every other, and every other against copy, over the pictures both have.

    The same people are drawn for both, so that what is hard for both does not widen the interval. By kind
    only the hole's PSNR is compared.
    """
    table = _by_system(measurements)
    if not table:
        return ()
    return tuple(
        _difference(table, pair, measure, kind, bootstrap)
        for pair in _pairs(list(table))
        for measure, kind in _measures_to_compare(table, pair)
    )


def _by_system(measurements: Iterable[Measurement]) -> _Table:
    """Every occluded picture as it was drawn, by system, and by name and kind."""
    table: _Table = {}
    for m in measurements:
        if m.coverage and m.condition == AS_DRAWN:
            table.setdefault(m.system, {})[m.name, m.kind] = m
    return table


def _pairs(systems: Sequence[str]) -> list[tuple[str, str]]:
    first, *others = systems
    against_copy = [(other, COPY) for other in others if other != COPY] if COPY in systems else []
    return against_copy if first == COPY else [(first, other) for other in others] + against_copy


def _measures_to_compare(table: _Table, pair: tuple[str, str]) -> Iterator[tuple[Measure, str]]:
    """The measures and kinds to compare a pair by."""
    first, second = (next(iter(table[name].values())).values for name in pair)
    for measure in first:
        if measure in second:
            yield measure, ALL
    for kind in dict.fromkeys(kind for _, kind in table[pair[0]]):
        yield ("hole", "psnr"), kind


def _difference(
    table: _Table, pair: tuple[str, str], measure: Measure, kind: str, bootstrap: PeopleBootstrap
) -> Comparison:
    own, other = (table[name] for name in pair)
    values, people = [], []
    for picture in own:
        if picture in other and kind in (ALL, picture[1]):
            first, second = own[picture].values.get(measure), other[picture].values.get(measure)
            if first is not None and second is not None:
                values.append(first - second)
                people.append(own[picture].person)
    interval = bootstrap.interval(values, people)
    return Comparison(
        *pair,
        kind,
        *measure,
        difference=round(float(np.mean(values)), DIGITS) if values else None,
        low=round(interval[0], DIGITS) if interval else None,
        high=round(interval[1], DIGITS) if interval else None,
        n=len(values),
    )


def find_gaps(
    measurements: Sequence[Measurement],
    attributes: Mapping[str, Mapping[str, bool]],
    bootstrap: PeopleBootstrap,
) -> tuple[Gap, ...]:
    """How every system's scores differ between people with an attribute and without it.

    Only kinds that every picture takes are counted. A face with glasses gets no sunglasses, and would
    otherwise be compared under other occlusions.

    Args:
        attributes: CelebA's by the picture's name, or empty if there are none.
    """
    gaps = []
    for system, pictures in _by_system(measurements).items():
        times = Counter(kind for _, kind in pictures)
        most = len({name for name, _ in pictures})
        shared = [m for (_, kind), m in pictures.items() if times[kind] == most]
        for attribute in ATTRIBUTES:
            for measure in _GAP_MEASURES:
                gap = _gap(system, attribute, measure, shared, attributes, bootstrap)
                gaps += [gap] if gap else []
    return tuple(gaps)


def _gap(
    system: str,
    attribute: str,
    measure: Measure,
    measurements: Sequence[Measurement],
    attributes: Mapping[str, Mapping[str, bool]],
    bootstrap: PeopleBootstrap,
) -> Gap | None:
    """None if one group has no picture."""
    groups: dict[bool, list[tuple[float, str]]] = {True: [], False: []}
    for m in measurements:
        value, has = m.values.get(measure), attributes[m.name].get(attribute)
        if value is not None and has is not None:
            groups[has].append((value, m.person))
    if not all(groups.values()):
        return None
    means, draws, people = {}, {}, {}
    for has, members in groups.items():
        values, shown = zip(*members, strict=True)
        means[has], people[has] = float(np.mean(values)), set(shown)
        draws[has] = bootstrap.means(values, shown)
    enough = min(len(people[True]), len(people[False])) > 1
    low, high = percentiles(draws[True] - draws[False]) if enough else (None, None)
    return Gap(
        system,
        attribute,
        *measure,
        gap=round(means[True] - means[False], DIGITS),
        low=None if low is None else round(low, DIGITS),
        high=None if high is None else round(high, DIGITS),
        n_with=len(groups[True]),
        n_without=len(groups[False]),
    )


def find_spreads(measurements: Sequence[Measurement], bootstrap: PeopleBootstrap) -> tuple[Spread, ...]:
    """The gap between the best and the worst group of people of every trait, by the hole's PSNR.

    Both groups are chosen by their means, so that the gap between equal groups is a little above 0. Groups
    of fewer than 10 people are left out.

    Args:
        measurements: with their groups of people.
        bootstrap: over all people on the pictures.
    """
    spreads = []
    for system, pictures in _by_system(measurements).items():
        groups: dict[str, dict[str, list[Measurement]]] = {}
        for m in pictures.values():
            for label in m.people:
                trait, _, value = label.partition(": ")
                groups.setdefault(trait, {}).setdefault(value, []).append(m)
        for trait, members in groups.items():
            spread = _spread(system, trait, members, bootstrap)
            spreads += [spread] if spread else []
    return tuple(spreads)


def _spread(
    system: str, trait: str, groups: Mapping[str, Sequence[Measurement]], bootstrap: PeopleBootstrap
) -> Spread | None:
    """None if fewer than two groups are large enough."""
    measure: Measure = ("hole", "psnr")
    found = {}
    for name, members in groups.items():
        pairs = [(value, m.person) for m in members if (value := m.values[measure]) is not None]
        if len({person for _, person in pairs}) >= _FEWEST_PEOPLE:
            found[name] = tuple(zip(*pairs, strict=True))
    if len(found) < 2:
        return None
    means = {name: float(np.mean(values)) for name, (values, _) in found.items()}
    best, worst = max(means, key=means.__getitem__), min(means, key=means.__getitem__)
    low, high = percentiles(bootstrap.means(*found[best]) - bootstrap.means(*found[worst]))
    return Spread(
        system,
        trait,
        best,
        worst,
        *measure,
        gap=round(means[best] - means[worst], DIGITS),
        low=round(low, DIGITS),
        high=round(high, DIGITS),
        n_best=len(found[best][0]),
        n_worst=len(found[worst][0]),
    )


_Z = 1.959964  # 95% of a normal distribution lie within


def wilson_interval(count: int, total: int) -> tuple[float, float]:
    """The 95% interval of a share, 0-1. Its upper end is above 0 for a count of 0.

    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22(158), 1927.

    Args:
        count: 0 to `total`.
        total: at least 1.
    """
    share = count / total
    middle = share + _Z**2 / (2 * total)
    half = _Z * sqrt(share * (1 - share) / total + _Z**2 / (4 * total**2))
    scale = 1 + _Z**2 / total
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)
