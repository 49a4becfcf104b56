"""Put into the wheel what the package needs beside its code; all else is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = (
    "notebooks", "docs", "data/README.md", "data/checkpoints", "benchmarks/results",
    "tests/data_files/pq/normal",
)  # fmt: skip  # the course: `pfpn lab` lays it out
ENDINGS = (".safetensors", ".jsonl", ".json", ".ipynb", ".md", ".html", ".png")


class BuildWithFiles(build_py):
    """Copies files of the repository to the package's folder `_shipped`."""

    def run(self):
        """Build the package, then copy."""
        super().run()
        if self.editable_mode:  # the repository itself is there
            return
        root = Path(__file__).resolve().parent
        target = Path(self.build_lib) / "pfpn" / "_shipped"
        shutil.rmtree(target, ignore_errors=True)
        for folder in SHIPPED:
            start = root / folder
            for path in sorted(start.rglob("*")) if start.is_dir() else [start]:
                hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
                if path.suffix in ENDINGS and not hidden:
                    copy = target / path.relative_to(root)
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, copy)


setup(cmdclass={"build_py": BuildWithFiles})
