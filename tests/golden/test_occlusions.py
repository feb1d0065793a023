import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from facemend.io import read_image
from tests.golden.occlusions import DRAWN, FOLDER, draw


def digest() -> str:
    """One sha256 over all kinds."""
    return hashlib.sha256(b"".join(draw(name).tobytes() for name in DRAWN)).hexdigest()


@pytest.mark.parametrize("name", DRAWN)
def test_a_kind_is_drawn_as_its_golden_picture_shows(name: str) -> None:
    golden = read_image(FOLDER / f"{name}.png")
    drawn = draw(name)
    assert drawn.shape == golden.shape
    # Pillow's releases may round a blur another way; more than one level is another drawing.
    assert np.abs(drawn.astype(int) - golden).max() <= 1


def test_no_golden_picture_is_left_of_a_kind_that_is_gone() -> None:
    assert {path.stem for path in FOLDER.glob("*.png")} == set(DRAWN)


def test_another_process_on_a_simpler_processor_draws_the_same_bytes(repo_root: Path) -> None:
    """Neither the hash seed nor numpy's vector instructions change a picture."""
    found = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    environment = os.environ | {
        "PYTHONHASHSEED": "1",
        "NPY_DISABLE_CPU_FEATURES": " ".join(found),
        "OPENBLAS_CORETYPE": "Prescott",
    }
    code = "from tests.golden.test_occlusions import digest; print(digest())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=repo_root,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == digest()
