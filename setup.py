"""Lays what `perennial init` writes into the package; everything else about it stands in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = (  # flows/starter.py reads them
    "params.yaml", "dvc.yaml", "prefect.yaml", ".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore",
    "presets/*.yaml", "data/raw/relations.yaml", "data/raw/general/*.txt", "data/raw/topics/*.yaml",
    "data/canary/*.jsonl",
)  # fmt: skip
HERE = Path(__file__).parent


def shipped():
    return [path.relative_to(HERE) for pattern in SHIPPED for path in sorted(HERE.glob(pattern))]


class WithShipped(build_py):
    def run(self):
        super().run()
        if not self.editable_mode:  # a checkout has them where they are
            for path in shipped():
                target = Path(self.build_lib, "flows/shipped", path)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(HERE / path, target)

    def get_source_files(self):
        return [*super().get_source_files(), *map(str, shipped())]


setup(cmdclass={"build_py": WithShipped})
