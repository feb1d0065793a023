"""Boxes as the detector reckons with them: float64 (N, 4), each x1, y1, x2, y2 of its edges.

Edges lie between pixels: the box of the top left pixel alone is 0, 0, 1, 1.
"""

import numpy as np

from facemend.frame import Points

_MOST_INWARDS = 0.45


def shift(boxes: Points, offsets: Points) -> Points:
    """Moves every edge of boxes (N, 4) by its offset (N, 4), a share of the box's width or height.

    No edge is moved across the middle of its box.
    """
    sizes = boxes[:, 2:] - boxes[:, :2]
    low, high = offsets[:, :2].clip(max=_MOST_INWARDS), offsets[:, 2:].clip(min=-_MOST_INWARDS)
    moved: Points = boxes + np.concatenate([low, high], axis=1) * np.tile(sizes, 2)
    return moved


def overlaps(box: Points, boxes: Points, *, of_smaller: bool = False) -> Points:
    """What a box (4,) shares with each of others (N, 4): (N,), 0-1.

    Args:
        of_smaller: as a share of the smaller of the two, not of all that both cover.
    """
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    common = np.prod((high - low).clip(0), axis=1)
    area, areas = np.prod(box[2:] - box[:2]), np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    whole = np.minimum(area, areas) if of_smaller else area + areas - common
    shares: Points = common / whole
    return shares


def suppress(boxes: Points, scores: Points, most: float, *, of_smaller: bool = False) -> list[int]:
    """Non-maximum suppression: which boxes no better one overlaps by more than `most`, best first.

    Args:
        boxes, scores: (N, 4) of positive size, and (N,).
        most: of `overlaps`, 0-1.
    """
    kept, waiting = [], np.argsort(-scores, kind="stable")
    while len(waiting):
        best, waiting = waiting[0], waiting[1:]
        kept.append(int(best))
        waiting = waiting[overlaps(boxes[best], boxes[waiting], of_smaller=of_smaller) <= most]
    return kept
