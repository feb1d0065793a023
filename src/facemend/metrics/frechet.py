"""Fréchet distance: how far two sets of pictures are apart, by a network's features."""

import numpy as np
import numpy.typing as npt

Features = npt.NDArray[np.float32]
"""(N, D), a picture a row."""


def frechet_distance(features: Features, truth: Features) -> float:
    """|m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½) of two Gaussians fitted to the sets; 0 means alike.

    Dowson, Landau, "The Fréchet distance between multivariate normal distributions", J. of Multivariate
    Analysis 12(3), 1982; over Inception features it is the FID of Heusel et al., "GANs trained by a two
    time-scale update rule converge to a local Nash equilibrium", NeurIPS 2017. Few pictures make it larger
    than it is: compare it over equal numbers only.

    Args:
        features, truth: float (N, D), at least two pictures each.

    Raises:
        ValueError: other shapes.
    """
    if features.ndim != 2 or features.shape[1:] != truth.shape[1:] or min(len(features), len(truth)) < 2:
        raise ValueError(f"features of {features.shape} and {truth.shape} are no two sets (N, D)")
    means = [part.mean(axis=0, dtype=np.float64) for part in (features, truth)]
    first, second = (
        np.atleast_2d(np.cov(part.astype(np.float64), rowvar=False)) for part in (features, truth)
    )
    # C1 C2 has the eigenvalues of the symmetric C1^½ C2 C1^½.
    values, sides = np.linalg.eigh(first)
    root = sides * np.sqrt(values.clip(0)) @ sides.T
    shared = np.sqrt(np.linalg.eigvalsh(root @ second @ root).clip(0)).sum()
    apart = float(((means[0] - means[1]) ** 2).sum())
    # Rounding can leave equal sets a hair below 0.
    return max(0.0, apart + float(np.trace(first) + np.trace(second) - 2 * shared))
