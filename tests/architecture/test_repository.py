"""What must never get into the repository."""

import re
import subprocess
from pathlib import Path

import pytest

# Written so that this file does not match itself.
_MACHINE_PATH = re.compile(r"(?<![\w.-])/(wor[k]|hom[e]|roo[t]|User[s]|tm[p])/\w|[A-Z]:\\User[s]")
_REGISTRY = re.compile(r"--?(extra-)?index-ur[l]|//[a-z0-9.-]*(pyp[i]|np[m]|pythonhoste[d])[a-z0-9.-]*/")
_FACES = re.compile(r"(^|/)\d{6}\.jpg$|img_align_celeba|real-masks")
_LARGEST_MB = 18  # the shipped model; everything else is far smaller


def _files(root: Path) -> list[Path]:
    """Every file that git knows or would take."""
    if not (root / ".git").exists():
        pytest.skip("needs a git clone: only git knows which files belong to the repository")
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listing, cwd=root, capture_output=True, text=True, check=True)
    return [root / name for name in done.stdout.split("\0") if name and (root / name).is_file()]


def _offences(root: Path, pattern: re.Pattern[str]) -> list[str]:
    found = []
    for path in _files(root):
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        found += [f"{path.name}:{n}: {line}" for n, line in enumerate(lines, 1) if pattern.search(line)]
    return found


def test_no_file_names_a_path_of_somebodys_machine(repo_root: Path) -> None:
    assert _offences(repo_root, _MACHINE_PATH) == []


def test_no_file_names_a_package_registry(repo_root: Path) -> None:
    assert _offences(repo_root, _REGISTRY) == []


def test_no_face_of_a_dataset_is_in_the_repository(repo_root: Path) -> None:
    names = [path.relative_to(repo_root).as_posix() for path in _files(repo_root)]
    assert [name for name in names if _FACES.search(name)] == []


def test_no_file_is_large(repo_root: Path) -> None:
    large = [path.name for path in _files(repo_root) if path.stat().st_size > _LARGEST_MB * 1e6]
    assert large == []


def test_the_repository_has_files(repo_root: Path) -> None:
    assert repo_root / "pyproject.toml" in _files(repo_root)
