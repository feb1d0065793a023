"""Every pattern that cloth is drawn in, and how often."""

from collections.abc import Mapping

from facemend.occlusion import prints, weaves
from facemend.occlusion.textures import Pattern, plain

PATTERNS: Mapping[Pattern, float] = {
    plain: 38, prints.heather: 8, weaves.stripes: 7, weaves.pinstripes: 3, weaves.gingham: 5,
    weaves.tartan: 5, weaves.windowpane: 3, weaves.checkerboard: 3, weaves.zigzag: 3, weaves.dots: 6,
    weaves.gradient: 4, prints.print_: 12, prints.camouflage: 6, prints.animal: 4, prints.tie_dye: 5,
    prints.logo: 9, prints.mouth: 5,
}  # fmt: skip
"""A new one is a function and a line here."""

BENCHMARK_PATTERNS: Mapping[Pattern, float] = {
    weaves.houndstooth: 1, weaves.argyle: 1, weaves.scales: 1, prints.confetti: 1,
}  # fmt: skip
"""Patterns that the benchmark alone draws, so that no model has been shown them."""
