"""The examples of docs/photos.md run."""

import re
from pathlib import Path

import pytest
from PIL import Image

from facemend.reconstruction.demo import read_portraits


def _examples(guide: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", guide.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_every_python_example_runs(
    repo_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, portrait in zip(
        ("photo.jpg", "a.jpg", "b.jpg"), (*read_portraits(), read_portraits()[0]), strict=True
    ):
        Image.fromarray(portrait.photo).save(name)
    examples = _examples(repo_root / "docs/photos.md")
    assert len(examples) == 3
    for example in examples:
        exec(compile(example, "docs/photos.md", "exec"), {})
    assert capsys.readouterr().out.endswith("unchanged\nunchanged\n")
    assert {path.name for path in Path("results").iterdir()} == {"a.jpg", "b.jpg"}
    assert Path("result.jpg").is_file()
