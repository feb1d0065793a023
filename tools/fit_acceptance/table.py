"""The fit itself, and what it is worth."""

from collections import defaultdict
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from facemend.alignment import Points
from facemend.reconstruction.acceptance import Evidence
from facemend.thresholds import THRESHOLDS
from tools.fit_acceptance.finds import Find

_RIDGE = 1.0
_AT_LEAST = {"detail_outside": 2.0}
"""A blur is a cover only where the surroundings are sharper. The photos hold too few blurred people out of
focus to teach it."""


@dataclass(frozen=True)
class Table:
    """What is fitted: an intercept and a weight for each kind of evidence."""

    intercept: float
    weights: Points

    def probabilities(self, rows: Points) -> Points:
        """Of rows of evidence (N, K): (N,)."""
        shares: Points = 1 / (1 + np.exp(-(self.intercept + rows @ self.weights).clip(-50, 50)))
        return shares


def fit(rows: Points, covered: Points) -> Table:
    """Logistic regression by Newton's method, with a small ridge on standardised evidence.

    A weight that comes out below the one it has at least is held there, and the others are fitted anew.

    Args:
        rows: (N, K).
        covered: (N,), 0 or 1.
    """
    least = np.array([_AT_LEAST.get(field.name, -np.inf) for field in fields(Evidence)])
    intercept, weights = _solve(rows, covered, np.zeros(len(rows)))
    held = weights < least
    if held.any():
        intercept, weights[~held] = _solve(rows[:, ~held], covered, rows[:, held] @ least[held])
        weights[held] = least[held]
    return Table(intercept, weights)


def _solve(rows: Points, covered: Points, offset: Points) -> tuple[float, Points]:
    """The intercept and the weights that are added to an offset (N,)."""
    mean, spread = rows.mean(axis=0), rows.std(axis=0) + 1e-9
    design = np.column_stack([np.ones(len(rows)), (rows - mean) / spread])
    ridge = np.diag([0.0] + [_RIDGE] * rows.shape[1])
    beta = np.zeros(design.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-(design @ beta + offset).clip(-30, 30)))
        gradient = design.T @ (p - covered) + ridge @ beta
        hessian = (design * np.maximum(p * (1 - p), 1e-6)[:, None]).T @ design + ridge
        step = np.linalg.solve(hessian, gradient)
        beta -= step * min(1.0, 3 / np.abs(step).max())
    slopes = beta[1:] / spread
    return float(beta[0] - slopes @ mean), slopes


def report(photos: list[dict[str, Any]], finds: list[Find], probability: Points) -> None:
    """Prints calibration, harm by condition, and what is found by set and by kind."""
    known = np.array([find.covered is not None for find in finds])
    covered = np.array([bool(find.covered) for find in finds])
    print("probability   finds  covered")
    for low in np.arange(0, 1, 0.1):
        inside = known & (probability >= low) & (probability < low + 0.1 + 1e-9)
        share = covered[inside].mean() if inside.any() else float("nan")
        print(f"{low:.1f} to {low + 0.1:.1f}  {inside.sum():6}  {share:.3f}")
    accepted: dict[int, list[Find]] = defaultdict(list)
    for find, p in zip(finds, probability, strict=True):
        if p >= THRESHOLDS.accepted:
            accepted[find.photo].append(find)
    harm, found = defaultdict(list), defaultdict(list)
    for number, photo in enumerate(photos):
        if not photo["covered"]:
            condition = photo["condition"] if photo["kind"] == "none" else photo["kind"]
            harm[condition].append(bool(accepted[number]))
            continue
        right = [find for find in accepted[number] if find.covered is not False]
        wrong = [find for find in accepted[number] if find.covered is False]
        found[photo["source"], photo["kind"]].append(bool(right))
        harm["a face beside, or a wrong place"].append(bool(wrong))
    print("\nchanged, though nothing covers")
    for condition, changed in sorted(harm.items()):
        print(f"{condition:32} {sum(changed):4} of {len(changed):4}  {np.mean(changed):6.1%}")
    print("\nfound and changed")
    for key, changed in sorted(found.items()):
        print(f"{' '.join(key):44} {sum(changed):4} of {len(changed):4}  {np.mean(changed):6.1%}")
