"""The notebook of the documents runs from its first cell to its last."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def notebook(repo_root: Path) -> dict[str, Any]:
    text = (repo_root / "docs" / "tutorials" / "facemend.ipynb").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def test_the_notebook_is_one_and_holds_no_outputs(notebook: dict[str, Any]) -> None:
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    identities = [cell["id"] for cell in notebook["cells"]]
    assert len(set(identities)) == len(identities)
    for cell in notebook["cells"]:
        assert cell["cell_type"] in ("markdown", "code")
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)


def test_every_cell_runs(notebook: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    known: dict[str, Any] = {}
    shown = []
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, cell["id"], "exec"), known)
        if isinstance(last, ast.Expr):  # Jupyter shows the value of a cell's last line
            shown.append(eval(compile(ast.Expression(last.value), cell["id"], "eval"), known))
    assert known["result"].changed
    assert "<figure" in known["result"]._repr_html_()
    truth, found = known["covered"].occlusion.mask, known["found"].mask("covers")
    assert (truth & found).sum() / (truth | found).sum() > 0.8
    assert shown[-1] == known["result"].provenance.regions
