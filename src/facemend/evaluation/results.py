"""The results of an evaluation: scores of single pictures, and the report made of them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property

from facemend.errors import FacemendError, UsageError
from facemend.escaping import printable_json
from facemend.files import parse_json

ALL = "all"
FORMAT = 2
AS_DRAWN = "as drawn"
"""The condition of the protocol's own inputs. The others are those of `protocol.CONDITIONS`."""

Measure = tuple[str, str]
"""Region and metric, a key of UNITS."""

UNITS: Mapping[Measure, str] = {
    ("hole", "psnr"): "dB",
    ("composite", "psnr"): "dB",
    ("composite", "ssim"): "0-1",
    ("raw", "psnr"): "dB",
    ("raw", "ssim"): "0-1",
    ("hole", "sharpness"): "share of the truth's",
    ("hole", "interval_coverage"): "share of colour values",
    ("seam", "gradient"): "share of the truth's",
    ("seam", "gradient_p95"): "share of the truth's",
    ("seam", "ssim"): "0-1",
    ("occlusion", "iou"): "0-1",
    ("unoccluded", "false_edits"): "share of pictures",
    ("unoccluded", "changed"): "share of photos",
    ("composite", "ms_ssim"): "0-1",
    ("composite", "identity"): "distance of descriptors",
    ("composite", "frechet_identity"): "Fréchet distance of descriptors",
    ("composite", "lpips"): "distance",
    ("composite", "fid"): "Fréchet distance of features",
}
"""Every measure and its unit."""


@dataclass(frozen=True)
class Group:
    """The pictures that a score is averaged over; "all" does not restrict them.

    A condition other than AS_DRAWN is measured on the first pictures only (`systems.FIRST_PICTURES`).
    Groups of people are named "trait: value", such as "skin: dark". Only some protocols have them.
    """

    kind: str = ALL
    extent: str = ALL
    hole_bin: str = ALL
    condition: str = AS_DRAWN
    people: str = ALL


EVERYTHING = Group()


@dataclass(frozen=True)
class Measurement:
    """The scores of one system on one picture.

    Attributes:
        system: its name.
        name, person: the picture's name in its source, and who it shows.
        kind, extent: of the occlusion, or "none" without one.
        coverage: the hole's share of the crop, 0-1.
        values: score by measure, or None if the picture is counted apart (perfect for PSNR, nothing to
            measure for other metrics).
        condition: what the input went through, "as drawn" for the protocol's own.
        people: the person's groups, as in `Group.people`.
    """

    system: str
    name: str
    person: str
    kind: str
    extent: str
    coverage: float
    values: Mapping[Measure, float | None]
    condition: str = AS_DRAWN
    people: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One score of a report: a measure of a system, averaged over a group of pictures.

    Attributes:
        system, region, metric, unit: what is averaged.
        kind, extent, hole_bin, condition, people: the group of pictures (see Group).
        mean: mean of the pictures' scores, or None if all are counted apart.
        low, high: 95% interval of the mean, bootstrapped over people, or None if that needs more people.
        n: pictures that the mean is taken over.
        apart: pictures counted apart (see `Measurement.values`).
    """

    system: str
    kind: str
    extent: str
    hole_bin: str
    condition: str
    region: str
    metric: str
    unit: str
    mean: float | None
    low: float | None
    high: float | None
    n: int
    apart: int
    people: str = ALL

    @property
    def group(self) -> Group:
        """The pictures that it is averaged over."""
        return Group(self.kind, self.extent, self.hole_bin, self.condition, self.people)


@dataclass(frozen=True)
class Comparison:
    """Two systems on the same pixels: the mean of `system` minus `other`, picture by picture.

    Attributes:
        kind: of the pictures' occlusion, or "all".
        difference: in the measure's unit, or None if they share no picture.
        low, high: its 95% interval, bootstrapped over people, or None if that needs more people.
        n: pictures for which both have a score.
    """

    system: str
    other: str
    kind: str
    region: str
    metric: str
    difference: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Gap:
    """The mean of a system over one group of people minus its mean over the other people.

    Attributes:
        attribute: of CelebA, as annotated there.
        gap: mean with the attribute minus mean without it, in the measure's unit.
        low, high: its 95% interval, bootstrapped over people, or None if that needs more people.
        n_with, n_without: pictures in the two means.
    """

    system: str
    attribute: str
    region: str
    metric: str
    gap: float
    low: float | None
    high: float | None
    n_with: int
    n_without: int


@dataclass(frozen=True)
class Spread:
    """The gap between the groups of people for whom a system is best and worst.

    Attributes:
        trait: what the groups differ in, such as "skin".
        best, worst: two values of the trait, by the mean of the measure.
        gap: mean of the best group minus mean of the worst, in the measure's unit.
        low, high: its 95% interval for these two groups, bootstrapped over people.
        n_best, n_worst: pictures in the two means.
    """

    system: str
    trait: str
    best: str
    worst: str
    region: str
    metric: str
    gap: float
    low: float
    high: float
    n_best: int
    n_worst: int


@dataclass(frozen=True)
class Published:
    """Scores that others published under a protocol, on the whole picture.

    Attributes:
        name: of their system.
        psnr: dB.
        ssim: 0-1.
    """

    name: str
    psnr: float
    ssim: float


@dataclass(frozen=True)
class SystemEntry:
    """What the report says of a system beside its scores.

    Attributes:
        name, blind, sha256: as in `systems.System`.
        training_people: "disjoint" from the evaluated people, "none" (it learnt nothing) or "unknown".
        pictures: number of pictures it was measured on: all or the first ones.
        latency_ms: median time for a face, in batches of one face under every kind. None for pictures of
            `--export-inputs`, which facemend did not make.
        peak_memory_mb: of a process that only opens the model and reconstructs faces, one at a time. None
            for systems without a file, and if the operating system does not report it.

    Another run repeats everything exactly except for latency and memory.
    """

    name: str
    blind: bool
    sha256: str | None
    training_people: str
    pictures: int
    latency_ms: float | None
    peak_memory_mb: float | None


@dataclass(frozen=True)
class EvaluationReport:
    """The result of `facemend evaluate`, with everything that makes its scores comparable.

    Attributes:
        protocol: its name and version.
        facemend: the version of the program.
        source, split: where the faces come from.
        pictures, people: how many were evaluated.
        kinds: the occlusions, in order.
        inputs_sha256: hash over truth, occluded pictures and alphas, by kind. Reports can be compared
            where these are equal.
        systems: in the order of the command, models first.
        rows: every mean.
        comparisons: the first system against every other, and every other against copy.
        gaps: between groups of people, or empty if the source has no attributes.
        left_out: metrics that were not measured, and the reason.
        command: repeats the evaluation.
        coverage: mean share of the picture that the hole takes, by kind.
        spreads: between groups of people, or empty if the protocol has none.
        published: scores that others published under this protocol.
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
    comparisons: tuple[Comparison, ...] = ()
    gaps: tuple[Gap, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    coverage: Mapping[str, float] = field(default_factory=dict)
    spreads: tuple[Spread, ...] = ()
    published: tuple[Published, ...] = ()
    format: int = FORMAT

    def find(self, system: str, measure: Measure, group: Group = EVERYTHING) -> Row | None:
        """The row of a system, a measure and a group, or None if nothing was measured there."""
        return self._rows.get((system, measure, group))

    @cached_property
    def _rows(self) -> Mapping[tuple[str, Measure, Group], Row]:
        return {(row.system, (row.region, row.metric), row.group): row for row in self.rows}

    def compare(self, system: str, other: str, measure: Measure, kind: str = ALL) -> Comparison | None:
        """The paired comparison of two systems, or None if it was not made."""
        wanted = (system, other, measure, kind)
        return next(
            (c for c in self.comparisons if (c.system, c.other, (c.region, c.metric), c.kind) == wanted),
            None,
        )

    def joined(self, other: "EvaluationReport") -> "EvaluationReport":
        """One report with both reports' systems and rows. A system of both is taken from this one.

        Raises:
            UsageError: they were not measured on the same inputs, so that they cannot be compared.
        """
        for what in ("protocol", "split", "kinds", "inputs_sha256"):
            if getattr(self, what) != getattr(other, what):
                raise UsageError(
                    f"the reports differ in {what}: they are not of the same inputs, and cannot be compared"
                )
        known = {entry.name for entry in self.systems}
        return replace(
            self,
            systems=self.systems + tuple(entry for entry in other.systems if entry.name not in known),
            rows=self.rows + tuple(row for row in other.rows if row.system not in known),
            comparisons=self.comparisons + tuple(c for c in other.comparisons if c.system not in known),
            gaps=self.gaps + tuple(gap for gap in other.gaps if gap.system not in known),
            spreads=self.spreads + tuple(s for s in other.spreads if s.system not in known),
        )

    def to_json(self) -> str:
        """The report as JSON text."""
        return printable_json(asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "EvaluationReport":
        """Reads what `to_json` wrote.

        Raises:
            FacemendError: the text is not a report, or has another format.
        """
        try:
            fields = parse_json(text)
            if fields["format"] != FORMAT:
                raise FacemendError(
                    f"the report has format {fields['format']}, not {FORMAT}; run facemend evaluate again"
                )
            fields["kinds"] = tuple(fields["kinds"])
            fields["systems"] = tuple(SystemEntry(**entry) for entry in fields["systems"])
            fields["rows"] = tuple(Row(**row) for row in fields["rows"])
            fields["comparisons"] = tuple(Comparison(**entry) for entry in fields["comparisons"])
            fields["gaps"] = tuple(Gap(**entry) for entry in fields["gaps"])
            fields["spreads"] = tuple(Spread(**entry) for entry in fields.get("spreads", ()))
            fields["published"] = tuple(Published(**entry) for entry in fields.get("published", ()))
            return cls(**fields)
        except (ValueError, TypeError, KeyError) as error:
            raise FacemendError(f"this is not an evaluation report: {error!r}") from error
