"""Shares of counted things, with their intervals."""

from math import sqrt

_Z = 1.959964  # 95% of a normal distribution lie within


def wilson_interval(count: int, total: int) -> tuple[float, float]:
    """The 95% interval of a share, 0-1; it holds above 0 where nothing was counted.

    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22(158), 1927.

    Args:
        count: how many of them, 0 to `total`.
        total: at least 1.
    """
    share = count / total
    middle = share + _Z**2 / (2 * total)
    half = _Z * sqrt(share * (1 - share) / total + _Z**2 / (4 * total**2))
    scale = 1 + _Z**2 / total
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)
