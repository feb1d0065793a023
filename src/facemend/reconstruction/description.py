"""What a model file says about itself: enough to use it without a flag, and to judge its figures."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from facemend.errors import ModelError
from facemend.files import parse_json
from facemend.frame import tall_height

METADATA_KEY = "facemend"
FORMAT = 1
_MOST_PX = 8192
_TYPES: Mapping[str, tuple[type, ...]] = {
    "name": (str,),
    "size_px": (int,),
    "takes_hint": (bool,),
    "finds_occlusion": (bool,),
    "says_interval": (bool,),
    "images_seen": (int,),
    "hours": (float, int),
    "data": (str,),
    "config": (dict,),
    "commit": (str,),
    "metrics": (dict,),
    "blend": (dict,),
    "interval_factor": (float, int),
    "tall": (bool,),
}


@dataclass(frozen=True)
class ModelDescription:
    """Carried as JSON in the metadata of a model's ONNX file, under METADATA_KEY.

    The network's inputs are `image`, float32 (N, 3, H, W) RGB in [-1, 1], and, if `takes_hint`,
    `hint`, float32 (N, 1, H, W): 0 = find the occlusion yourself, 1 = the user says occluded.
    Its outputs are `raw`, (N, 3, H, W) in [-1, 1], and, if `finds_occlusion`, `alpha`,
    (N, 2, H, W) in [0, 1]: covers, accessories; and, if `says_interval`, `interval`,
    (N, 1, H, W) ≥ 0: inside the occlusion, nine in ten of a pixel's true colour values lie within
    ± this of `raw`, in the range of `raw`.

    Attributes:
        name: what people call it.
        size_px: the width of the crop that it works on: the side of the canonical square.
        tall: it works on the tall crop, which goes on below the square (see frame.py).
        takes_hint, finds_occlusion, says_interval: see above.
        images_seen, hours: how much it was trained.
        data: where its training faces came from, in words.
        training_people: hashes of the people it was trained on (`datasets.hash_identity`); None if
            nobody knows.
        config: the resolved training configuration.
        commit: the git commit of the code that trained it, or "unknown".
        metrics: figures on the val split at export, by name.
        blend: if its weights lie between those of two runs (`facemend export --blend`): the other run's
            share and how many images that had seen.
        interval_factor: the network's interval was made so many times as wide, to be calibrated.
        format: version of this description.
    """

    name: str
    size_px: int
    takes_hint: bool
    finds_occlusion: bool
    images_seen: int
    hours: float
    data: str
    training_people: tuple[str, ...] | None
    config: Mapping[str, Any] = field(default_factory=dict)
    commit: str = "unknown"
    metrics: Mapping[str, float] = field(default_factory=dict)
    says_interval: bool = False
    blend: Mapping[str, float] = field(default_factory=dict)
    interval_factor: float = 1.0
    tall: bool = False
    format: int = FORMAT

    @property
    def height_px(self) -> int:
        """The height of the crop that it works on."""
        return tall_height(self.size_px) if self.tall else self.size_px

    @property
    def inputs(self) -> dict[str, int]:
        """What the network takes: names and their channels."""
        return {"image": 3} | ({"hint": 1} if self.takes_hint else {})

    @property
    def outputs(self) -> dict[str, int]:
        """What the network gives: names and their channels, in this order."""
        alpha = {"alpha": 2} if self.finds_occlusion else {}
        return {"raw": 3} | alpha | ({"interval": 1} if self.says_interval else {})

    def check_types(self) -> None:
        """Raises TypeError: a field holds a value of another type, or a number that cannot be."""
        for name, kinds in _TYPES.items():
            value = getattr(self, name)
            # To Python, True is a number.
            if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
                raise TypeError(f"{name} is {type(value).__name__}, not {kinds[0].__name__}")
        if not 0 < self.size_px <= _MOST_PX or self.images_seen < 0:
            raise TypeError(f"size_px {self.size_px} or images_seen {self.images_seen} cannot be")
        figures = (*self.metrics.values(), *self.blend.values())
        if not all(isinstance(value, int | float | str) for value in figures):
            raise TypeError("metrics or blend holds what is no figure")
        if not all(isinstance(person, str) for person in self.training_people or ()):
            raise TypeError("training_people are no hashes")

    def to_json(self) -> str:
        """The description as JSON text."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "ModelDescription":
        """Reads what `to_json` wrote.

        Raises:
            ModelError: not such a text, or one of another format.
        """
        try:
            fields = parse_json(text)
            if not isinstance(fields, dict):
                raise TypeError("it is no table of keys and values")
            if fields["format"] != FORMAT:
                raise ModelError(
                    f"the model file has format {fields['format']}, this facemend reads {FORMAT}; "
                    "export it again"
                )
            people = fields["training_people"]
            fields["training_people"] = None if people is None else tuple(people)
            described = cls(**fields)
            described.check_types()
            return described
        except (ValueError, TypeError, KeyError) as error:
            raise ModelError(f"the model file's description cannot be read: {error!r}") from error
