"""Every error that facemend raises on purpose. One line each, and it says what to do.

FacemendError                 exit code 1: could not
├── PictureError              a file that is not a readable picture
├── NoFaceFound               a photo without a (large, upright enough) face
├── SourceError               a dataset that is missing, empty or incomplete
│   └── LeakError             people of the test split among the training people
├── ModelError                a model file that is damaged, foreign or does not fit
│   └── ExportError           an exported file that does not compute what torch does
├── TrainingError             a run that cannot go on
├── OutputError               an output that cannot be written, or would be overwritten
└── UsageError                exit code 2: used wrongly
    └── ConfigError           an unknown key or a value out of range in a config
"""


class FacemendError(Exception):
    """Base of all errors that facemend raises on purpose."""

    exit_code = 1


class PictureError(FacemendError):
    """A file is not a picture that can be read, or is of a kind that is not handled."""


class NoFaceFound(FacemendError):
    """A photo has no face that can be used."""


class SourceError(FacemendError):
    """A dataset is missing, empty or lacks an annotation that the task needs."""


class LeakError(SourceError):
    """A person is in the training set and in the evaluation set."""


class ModelError(FacemendError):
    """A model file cannot be read, or does not fit what is asked of it."""


class ExportError(ModelError):
    """An exported model does not compute what the trained network computes."""


class TrainingError(FacemendError):
    """A training run cannot start, go on or be continued."""


class OutputError(FacemendError):
    """An output cannot be written, or exists already."""


class UsageError(FacemendError):
    """The caller asked for something that makes no sense."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration has an unknown key or a value out of range."""


def reason_of(error: BaseException) -> str:
    """What an error of the system or of a library says, in one line."""
    said = getattr(error, "strerror", None) or str(error).strip()
    return (said.splitlines() or [type(error).__name__])[0]
