"""Differences: between systems on the same pixels, and between the people that one system serves."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from facemend.evaluation.averages import DIGITS, PeopleBootstrap, percentiles
from facemend.evaluation.results import ALL, AS_DRAWN, Comparison, Gap, Measure, Measurement, Spread

COPY = "copy"
ATTRIBUTES = ("Pale_Skin", "Young", "Male", "Eyeglasses", "No_Beard")
"""CelebA's, by whose annotation groups are compared: skin, age, gender presentation, glasses, beard."""
_GAP_MEASURES: tuple[Measure, ...] = (("hole", "psnr"), ("composite", "identity"))

_FEWEST_PEOPLE = 10
"""A group of fewer people is too small to be called best or worst."""

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
        for measure, kind in _subjects(table, pair)
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


def _subjects(table: _Table, pair: tuple[str, str]) -> Iterator[tuple[Measure, str]]:
    """Which measures to compare a pair by, over which kinds."""
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
    """How every system's figures differ between people with an attribute and without it.

    Only kinds count that every picture takes: who wears glasses gets no sunglasses, and would otherwise be
    compared over other occlusions.

    Args:
        attributes: CelebA's by the picture's name; empty where there are none.
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
    """None where one group has no picture."""
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
    """How far the best and the worst group of people of every trait lie apart, by the hole's PSNR.

    Both groups are chosen by their means, so that the gap of equal groups is a little above 0. Groups of
    fewer than 10 people are left out.

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
    """None where fewer than two groups are large enough."""
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
