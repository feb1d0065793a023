"""What an evaluation finds: figures of single pictures, and the report made of them."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from facemend.errors import FacemendError

ALL = "all"
FORMAT = 1

Measure = tuple[str, str]
"""Region and metric, a key of UNITS."""

UNITS: Mapping[Measure, str] = {
    ("hole", "psnr"): "dB",
    ("composite", "psnr"): "dB",
    ("composite", "ssim"): "0-1",
    ("raw", "psnr"): "dB",
    ("raw", "ssim"): "0-1",
    ("hole", "sharpness"): "share of the truth's",
    ("occlusion", "iou"): "0-1",
    ("unoccluded", "false_edits"): "share of pictures",
}
"""Every measure and its unit."""


@dataclass(frozen=True)
class Group:
    """Which pictures a figure is averaged over; "all" where they are not cut."""

    kind: str = ALL
    extent: str = ALL
    hole_bin: str = ALL


EVERYTHING = Group()


@dataclass(frozen=True)
class Measurement:
    """What one system makes of one picture.

    Attributes:
        system: its name.
        name, person: the picture's name in its source, and who it shows.
        kind, extent: of the occlusion; "none" for the picture without one.
        coverage: the hole's share of the crop, 0-1.
        values: figure by measure; None where the picture is counted apart (perfect for PSNR, nothing
            to judge for other metrics).
    """

    system: str
    name: str
    person: str
    kind: str
    extent: str
    coverage: float
    values: Mapping[Measure, float | None]


@dataclass(frozen=True)
class Row:
    """One figure of a report: a measure of a system, averaged over a group of pictures.

    Attributes:
        system, region, metric, unit: what is averaged.
        kind, extent, hole_bin: over which pictures (see Group).
        mean: mean of the pictures' figures; None if all are counted apart.
        low, high: 95% interval of the mean, bootstrapped over people; None if that needs more people.
        n: pictures that the mean is taken over.
        apart: pictures counted apart (see `Measurement.values`).
    """

    system: str
    kind: str
    extent: str
    hole_bin: str
    region: str
    metric: str
    unit: str
    mean: float | None
    low: float | None
    high: float | None
    n: int
    apart: int

    @property
    def group(self) -> Group:
        """The pictures that it is averaged over."""
        return Group(self.kind, self.extent, self.hole_bin)


@dataclass(frozen=True)
class SystemEntry:
    """What the report says of a system beside its figures.

    Attributes:
        name, blind, sha256: as in `systems.System`.
        training_people: "disjoint" from the evaluated people, "none" (it learnt nothing) or "unknown".
        latency_ms: median time a face, in batches of one face under every kind. The only figure here
            that another run does not repeat exactly.
    """

    name: str
    blind: bool
    sha256: str | None
    training_people: str
    latency_ms: float


@dataclass(frozen=True)
class EvaluationReport:
    """The result of `facemend evaluate`: everything that a figure needs to mean something.

    Attributes:
        protocol: its name and version.
        facemend: the version of the program.
        source, split: where the faces come from.
        pictures, people: how many were evaluated.
        kinds: the occlusions, in order.
        inputs_sha256: hash over truth, occluded pictures and alphas, by kind. Reports can be compared
            where these are equal.
        systems: in the order given; models first.
        rows: every figure.
        format: version of this layout.
    """

    protocol: str
    facemend: str
    source: str
    split: str
    pictures: int
    people: int
    kinds: tuple[str, ...]
    inputs_sha256: Mapping[str, str]
    systems: tuple[SystemEntry, ...]
    rows: tuple[Row, ...]
    format: int = FORMAT

    def find(self, system: str, measure: Measure, group: Group = EVERYTHING) -> Row | None:
        """The row of a system, a measure and a group; None if nothing was measured there."""
        wanted = (system, measure, group)
        return next((r for r in self.rows if (r.system, (r.region, r.metric), r.group) == wanted), None)

    def to_json(self) -> str:
        """The report as JSON text."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "EvaluationReport":
        """Reads what `to_json` wrote.

        Raises:
            FacemendError: not such a text, or one of another format.
        """
        try:
            fields = json.loads(text)
            if fields["format"] != FORMAT:
                raise FacemendError(
                    f"the report has format {fields['format']}, not {FORMAT}; run facemend evaluate again"
                )
            fields["kinds"] = tuple(fields["kinds"])
            fields["systems"] = tuple(SystemEntry(**entry) for entry in fields["systems"])
            fields["rows"] = tuple(Row(**row) for row in fields["rows"])
            return cls(**fields)
        except (ValueError, TypeError, KeyError) as error:
            raise FacemendError(f"this is no evaluation report: {error!r}") from error
