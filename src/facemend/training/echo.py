"""Data echoing: where a GPU computes faster than the processors draw, each picture is shown several times.

Choi et al., "Faster Neural Network Training with Data Echoing", 2019 (arXiv 1907.05550).
"""

from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np

from facemend.occlusion import seed_of
from facemend.training.batches import PackedBatch

KEPT = 64
"""From so many of the newest batches it is drawn what is shown again; they stay on the device."""


def echoed(
    fresh: Iterable[PackedBatch], times: int, *, first: int, skip: int, seed: int, mirror: bool
) -> Iterator[PackedBatch]:
    """Each fresh batch together with `times` - 1 of the newest `KEPT`, drawn at random.

    Args:
        fresh: batches in order, on the device.
        first: number of the first of them in its phase; what is drawn follows from the seed and the number.
        skip: so many at the beginning are kept only: a run that goes on has shown them before.
        mirror: show half of what is shown again mirrored.
    """
    kept: deque[PackedBatch] = deque(maxlen=KEPT)
    for number, batch in enumerate(fresh, first):
        kept.append(batch)
        if number < first + skip:
            continue
        rng = np.random.default_rng(seed_of("echo", seed, number))
        again = [kept[place] for place in rng.integers(len(kept), size=times - 1)]
        mirrored = rng.random(len(again)) < (0.5 if mirror else 0)
        shown = [each.mirror() if turned else each for each, turned in zip(again, mirrored, strict=True)]
        yield PackedBatch.join([batch, *shown])
