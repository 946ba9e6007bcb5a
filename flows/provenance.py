"""What a model was made from, as far as git and DVC can say: for its run in MLflow."""

import subprocess
from pathlib import Path

FILES = ("params.yaml", "dvc.lock", "dvc.yaml", "code.json")
CODE = ("params.yaml", "dvc.yaml", "tasks", "flows")  # of which a diff is kept: the data is told by its sums
LONGEST = 1_000_000  # characters of a diff
UNKNOWN = "none"


def tags_of(root: Path) -> dict[str, str]:
    """The commit, and whether what ran is just that: a slice that was added and not committed is not in it."""
    commit = _git(root, "rev-parse", "HEAD").strip() or UNKNOWN
    dirt = bool(_git(root, "status", "--porcelain", "--", ".").strip())
    return {
        "git.commit": commit,
        "git.dirty": str(dirt).lower(),
        "mlflow.source.git.commit": commit,  # where MLflow's pages look for it
        "mlflow.source.git.dirty": str(dirt).lower(),
    }


def files_of(root: Path) -> dict[str, str]:
    """By name: the settings, the sums of all that was read and made, and what differs from the commit."""
    found = {name: _text(root / name) for name in FILES}
    found["git.status"] = _git(root, "status", "--porcelain", "--", ".")
    found["git.diff"] = _git(root, "diff", "HEAD", "--", *CODE)[:LONGEST]
    return {name: text for name, text in found.items() if text}


def _git(root: Path, *arguments: str) -> str:
    """What git says; nothing without git, or outside a repository."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError:
        return ""
    return done.stdout if done.returncode == 0 else ""


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
