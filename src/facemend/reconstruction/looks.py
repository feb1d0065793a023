"""What the model sees of a face in a photo, in as many looks as it takes.

One look at the canonical crop is enough for most faces. A face that is hidden whole is looked at anew where
its cover says that it lies; a cover that goes on below the crop is seen in a wider one.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from facemend.faces import Face
from facemend.frame import Points, ValuesT, canonical_landmarks, sample, similarity
from facemend.images import Alpha, Image, Mask
from facemend.reconstruction.acceptance import accepts, found_in
from facemend.reconstruction.consistency import consistent
from facemend.reconstruction.hidden import landmarks_under, whole_cover
from facemend.reconstruction.model import Model, ModelOutput
from facemend.reconstruction.options import Remove
from facemend.reconstruction.view import View, view_below, view_of

_CLOSER_LOOKS = 3  # at a face that is hidden whole
_SURE_PLACE = 0.8  # a face of that confidence lies where the detector says
_CUT_OFF = 0.12  # share of the crop's last row that a cover takes which goes on below
_WIDER = ((1.1, 0.05, 0.09), (1.15, 0.075, 0.14))
"""Wider crops, the first in which the cover ends is taken: its side, how much lower it lies, and how much
it shows of what lies below, in sides of the crop."""
_ENDS = 0.15  # share of its width at the edge that a cover may have at the end of that; more is a scarf
_FADED, _BESIDE = 0.02, 0.04  # where both crops are mixed; how far a cover may widen below


class Seen(NamedTuple):
    """A face, where it was cut out, what the model says of it, and the occlusion to remove in the crop."""

    face: Face
    view: View
    output: ModelOutput
    found: Alpha


@dataclass(frozen=True)
class Looker:
    """Looks at the faces of one photo with one request.

    Attributes:
        model: what sees.
        remove: which class of occlusion to reconstruct.
        threshold: 0-1, an alpha above it is an occlusion.
    """

    model: Model
    remove: Remove
    threshold: float

    def __call__(self, photo: Image, face: Face, surest: float) -> Seen | None:
        """What is seen of a face; None if it lies outside the photo.

        Args:
            surest: confidence of the surest face of the photo.
        """
        seen = self._look(photo, face)
        if seen is None or seen.output.alpha is None:
            return seen
        if not accepts(photo, face, seen.view, seen.found, self.threshold, surest):
            return seen._replace(found=np.zeros_like(seen.found))
        if face.confidence < _SURE_PLACE:
            seen = self._closer(photo, seen)
        return self._below(photo, self._agreeing(seen))

    def where_said(self, photo: Image, face: Face, mask: Mask) -> Seen | None:
        """A face where a mask (H, W) of the photo says that it is hidden; None if it does not.

        `found` is the mask in the view's box.
        """
        view = self._view(photo, face)
        said = None if view is None else mask[view.box] & view.inside
        if view is None or said is None or not said.any():
            return None
        hint = view.hint(said)
        output = consistent(view.crop.image, self.model(view.crop.image[None], hint[None]), hint)
        return Seen(face, view, output, said.astype(np.float32))

    def _view(self, photo: Image, face: Face) -> View | None:
        described = self.model.description
        return view_of(photo, face, described.size_px, tall=described.tall)

    def _look(self, photo: Image, face: Face) -> Seen | None:
        view = self._view(photo, face)
        if view is None:
            return None
        output = self.model(view.crop.image[None])
        return Seen(face, view, output, found_in(view.crop.image, output, self.remove, self.threshold))

    def _agreeing(self, seen: Seen) -> Seen:
        """The same, its reconstruction made to agree with what a blur lets through."""
        output = consistent(seen.view.crop.image, seen.output, seen.found > self.threshold)
        return seen._replace(output=output)

    def _closer(self, photo: Image, seen: Seen) -> Seen:
        """A face that is hidden whole, where its cover says that it lies; any other one as it was."""
        for _ in range(_CLOSER_LOOKS):
            cover = whole_cover(seen.found[: seen.found.shape[1]] > self.threshold)
            if cover is None:
                break
            moved = _moved(seen.face, landmarks_under(cover, seen.view.crop.crop_to_photo))
            closer = self._look(photo, moved)
            if closer is None or not closer.found.any():
                break
            seen = closer
        return seen

    def _below(self, photo: Image, seen: Seen) -> Seen:
        """A face whose cover is cut off by the lower edge of the crop, with what lies below it.

        The face itself is that of the crop: in the wider one it lies where the model does not expect it.
        A cover whose end is not seen there either may be clothes, and stays cut off.
        """
        side = len(seen.found)
        cut = np.flatnonzero(seen.found[-1] > self.threshold)
        if self.model.description.tall or len(cut) < _CUT_OFF * side:
            return seen
        columns = np.arange(side)
        beside = np.minimum(columns - cut[0], cut[-1] - columns) < -_BESIDE * side
        middle, to_photo = (side - 1) / 2, seen.view.crop.crop_to_photo
        for larger, lower, below in _WIDER:
            # The wider crop's pixel p is the crop's pixel corner + larger * p.
            corner = middle * (1 - larger) + np.array([0, lower * side])
            in_crop = corner + larger * canonical_landmarks(side)
            moved = _moved(seen.face, in_crop @ to_photo[:, :2].T + to_photo[:, 2])
            wider = self._look(photo, moved)
            if wider is None:
                break
            to_wider = np.column_stack([np.eye(2) / larger, -corner / larger])
            longer = _Longer(side, round(below * side), to_wider)
            found = longer(seen.found, wider.found)
            found[:side] = seen.found
            found[side:, beside] = 0
            if (found[-1] > self.threshold).sum() <= _ENDS * len(cut):
                view = view_below(photo, seen.view, longer.rows)
                output = longer.output(seen.output, self._agreeing(wider).output)
                return Seen(seen.face, view, output, found)
        return seen


@dataclass(frozen=True)
class _Longer:
    """A crop that goes on below with what a wider one shows there; its last rows fade into that."""

    side: int
    rows: int
    to_wider: Points

    def __call__(self, crop: ValuesT, wider: ValuesT) -> ValuesT:
        """(S, S, …) and (S, S, …) to (S + rows, S, …)."""
        longer = sample(wider, self.to_wider, self.side, self.side + self.rows)
        kept = self.side - round(_FADED * self.side)
        longer[:kept] = crop[:kept]
        share = np.linspace(0, 1, self.side - kept + 2)[1:-1].reshape(-1, *[1] * (crop.ndim - 1))
        mixed = crop[kept:] + share * (longer[kept : self.side].astype(np.float64) - crop[kept:])
        longer[kept : self.side] = np.rint(mixed) if crop.dtype == np.uint8 else mixed
        return longer

    def output(self, crop: ModelOutput, wider: ModelOutput) -> ModelOutput:
        """What the model says of both, each one face."""
        raw = self(crop.raw[0], wider.raw[0])[None]
        alpha = interval = None
        if crop.alpha is not None and wider.alpha is not None:
            both = zip(crop.alpha[0], wider.alpha[0], strict=True)
            alpha = np.stack([self(*planes) for planes in both])[None]
        if crop.interval is not None and wider.interval is not None:
            interval = self(crop.interval[0], wider.interval[0])[None]
        return ModelOutput(raw, alpha, interval)


def _moved(face: Face, landmarks_px: Points) -> Face:
    """A face with its landmarks elsewhere, and its box with them."""
    there = similarity(face.landmarks_px, landmarks_px)
    low, high = np.reshape(face.box_px, (2, 2))
    middle = there[:, :2] @ (low + high) / 2 + there[:, 2]
    half = np.hypot(*there[:, 0]) * (high - low) / 2
    (x1, y1), (x2, y2) = (middle - half).tolist(), (middle + half).tolist()
    return Face((x1, y1, x2, y2), landmarks_px, face.confidence)
