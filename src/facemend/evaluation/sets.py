"""The protocols of `facemend evaluate` by their names."""

from pathlib import Path

from facemend.errors import UsageError
from facemend.evaluation.protocol import V1, Protocol

NAMES = ("v1", "published-masks", "diverse", "real-cutouts")
"""Every set of faces to reconstruct; `harm` measures whole photos instead (see `harm.py`)."""


def open_protocol(name: str, *, templates: Path | None = None, cutouts: Path | None = None) -> Protocol:
    """The protocol of a name.

    Args:
        name: of NAMES.
        templates: MaskTheFace's, for `published-masks`.
        cutouts: masks cut out of photographs, for `real-cutouts`.

    Raises:
        UsageError: an unknown name, or a folder is missing or does not belong to it.
        SourceError: a folder does not hold what it should.
    """
    if name not in NAMES:
        raise UsageError(f"unknown protocol {name!r}; choose from {', '.join(NAMES)}")
    if templates is not None and name != "published-masks":
        raise UsageError("--templates is for --protocol published-masks")
    if cutouts is not None and name != "real-cutouts":
        raise UsageError("--cutouts is for --protocol real-cutouts")
    if name == "published-masks":
        if templates is None:
            raise UsageError("--protocol published-masks needs MaskTheFace's templates: --templates FOLDER")
        from facemend.evaluation.published_masks import published_masks

        return published_masks(templates)
    if name == "real-cutouts":
        if cutouts is None:
            raise UsageError("--protocol real-cutouts needs masks cut out of photos: --cutouts FOLDER")
        from facemend.evaluation.real_cutouts import real_cutouts

        return real_cutouts(cutouts)
    if name == "diverse":
        from facemend.evaluation.diverse import diverse

        return diverse()
    return V1
