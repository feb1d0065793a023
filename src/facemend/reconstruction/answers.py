"""What a model can be told about a face."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Look:
    """One condition of a model.

    Attributes:
        yes, no: what people call a face that has it, and one that has not.
        attribute: the attribute of CelebA that says so.
        sign: 1 where the attribute says yes, -1 where it says no.
    """

    yes: str
    no: str
    attribute: str
    sign: int = 1


LOOKS: Mapping[str, Look] = {
    "smiling": Look("smiling", "neutral", "Smiling"),
    "mouth_open": Look("open-mouth", "closed-mouth", "Mouth_Slightly_Open"),
    "beard": Look("beard", "clean-shaven", "No_Beard", -1),
    "male": Look("man", "woman", "Male"),
    "young": Look("young", "older", "Young"),
    "lipstick": Look("lipstick", "no-lipstick", "Wearing_Lipstick"),
}
"""All conditions, by the names that a model's description has."""
