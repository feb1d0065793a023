import subprocess
import sys
from pathlib import Path

import pytest

import facemend

HEAVY = ("numpy", "PIL", "onnxruntime", "cv2", "torch", "onnx", "pydantic", "safetensors", "tqdm")
PUBLIC = ["Face", "FacemendError", "Reconstruction", "Reconstructor", "__version__", "find", "reconstruct"]
PUBLIC += ["reconstruct_frames", "reconstruct_video"]


def _imported_after(code: str) -> set[str]:
    """The HEAVY packages that a fresh Python has imported after some code."""
    show = f"import sys; print(*(name for name in {HEAVY} if name in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; {show}"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_imports_go_down_only(repo_root: Path) -> None:
    lint_imports = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint_imports], cwd=repo_root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_importing_facemend_imports_nothing_heavy() -> None:
    assert _imported_after("import facemend") == set()


def test_the_command_line_imports_nothing_heavy_before_a_command_runs() -> None:
    # `facemend --help` answers at once, and works where torch is not installed.
    assert _imported_after("import facemend.cli.main") == set()


def test_reconstructing_needs_the_light_core_alone() -> None:
    imported = _imported_after("import facemend; facemend.Reconstructor; facemend.reconstruct")
    assert imported & {"cv2", "torch", "onnx", "pydantic", "safetensors"} == set()
    assert "numpy" in imported


def test_the_public_names_are_these_and_all_of_them_are_there() -> None:
    assert sorted(facemend.__all__) == PUBLIC
    assert set(PUBLIC) <= set(dir(facemend))
    for name in PUBLIC:
        assert getattr(facemend, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'opt'"):
        _ = facemend.opt
