import numpy as np
import pytest
from scipy.linalg import sqrtm

from facemend.metrics.network import Features, frechet_distance

RNG = np.random.default_rng(0)
FIRST = RNG.normal(0, 2, (60, 5)).astype(np.float32)
SECOND = (RNG.normal(1, 1, (80, 5)) @ RNG.normal(0, 1, (5, 5))).astype(np.float32)


def test_the_value_is_that_of_the_definition_with_scipy_s_matrix_root() -> None:
    means = FIRST.mean(axis=0), SECOND.mean(axis=0)
    covariances = np.cov(FIRST, rowvar=False), np.cov(SECOND, rowvar=False)
    root = np.real(sqrtm(covariances[0] @ covariances[1]))
    expected = ((means[0] - means[1]) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert frechet_distance(FIRST, SECOND) == pytest.approx(expected, rel=1e-4)
    assert frechet_distance(SECOND, FIRST) == pytest.approx(expected, rel=1e-4)


def test_one_feature_is_two_bell_curves() -> None:
    first, second = (np.array(v, dtype=np.float32)[:, None] for v in ([0, 2], [5, 11]))
    # Means 1 and 8, standard deviations √2 and √18.
    assert frechet_distance(first, second) == pytest.approx(49 + (18**0.5 - 2**0.5) ** 2)


def test_equal_sets_are_not_apart_even_with_fewer_pictures_than_features() -> None:
    assert frechet_distance(FIRST[:3], FIRST[:3]) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("other", [FIRST[:1], FIRST[:, :4], FIRST[0]])
def test_sets_that_do_not_fit_are_refused(other: Features) -> None:
    with pytest.raises(ValueError, match="not two sets"):
        frechet_distance(other, FIRST)
