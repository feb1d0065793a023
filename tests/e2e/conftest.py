"""The command line as a stranger's files meet it: in an empty folder, with one line for each error."""

from collections.abc import Callable
from pathlib import Path

import click.testing
import pytest
from PIL import Image

from facemend.cli.main import main
from tests.stand_in import COVER
from tests.tiny_celeba import gradient

Run = Callable[..., click.testing.Result]
Refuse = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs facemend in an empty folder; a traceback fails the test."""
    monkeypatch.chdir(tmp_path)

    def invoke(*words: str | Path, stdin: bytes | None = None) -> click.testing.Result:
        result = click.testing.CliRunner().invoke(main, list(map(str, words)), stdin)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        return result

    return invoke


@pytest.fixture
def refuse(run: Run) -> Refuse:
    """Runs facemend, which has to end with an exit code and one line, and gives the line."""

    def invoke(code: int, *words: str | Path) -> str:
        result = run(*words)
        assert (result.exit_code, result.stderr.count("\n")) == (code, 1), result.output
        assert result.stderr.startswith("facemend: ")
        assert result.stderr[:-1].isprintable()
        return result.stderr

    return invoke


def draw(path: Path, *, covered: bool = False, mode: int = 0o644) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = gradient(128, 128)
    if covered:
        image[60:90, 40:80] = COVER
    Image.fromarray(image).save(path)
    path.chmod(mode)
    return path
