"""What all tests share."""

from pathlib import Path

import pytest
from hypothesis import settings

from tests.stand_in import write_model

# A busy machine is slow, not wrong; and a test that fails once fails again.
settings.register_profile("facemend", deadline=None, derandomize=True)
settings.load_profile("facemend")

_ROOT = Path(__file__).parent.parent
_SHARED = _ROOT.parent / "shared"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if _SHARED.is_dir():
        return
    skip = pytest.mark.skip(reason="needs the team's folder of pictures beside the repository: ../shared")
    for item in items:
        if item.get_closest_marker("needs_shared"):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The repository's root folder."""
    return _ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The team's folder of pictures; only for tests marked needs_shared."""
    return _SHARED


@pytest.fixture(scope="session")
def stand_in_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file that needs no training: see tests/stand_in.py."""
    return write_model(tmp_path_factory.mktemp("model") / "stand-in.onnx")
