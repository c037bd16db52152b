"""An interpreter with Flower: the one that a variable names, or an environment made for it."""

import os
import subprocess
import sys
import tomllib
from hashlib import sha256
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import PROJECT

FLOWER_APP: Final = PROJECT / "docs/examples/flower"
INTERPRETER: Final = "CHRONOTOPE_FLOWER_PYTHON"
"""Variable that names an interpreter with the packages of the app's pyproject.toml."""


def flower_python(config: pytest.Config) -> Path:
    """Interpreter with Flower; skips the test if there is none and none can be installed."""
    if named := os.environ.get(INTERPRETER):
        return Path(named)
    requirements = tomllib.loads((FLOWER_APP / "pyproject.toml").read_text(encoding="utf-8"))[
        "project"
    ]["dependencies"]
    if config.cache is None:
        pytest.skip(f"No cache for an environment with Flower, and {INTERPRETER} is not set")
    digest = sha256(" ".join(requirements).encode()).hexdigest()[:12]
    folder = config.cache.mkdir("flower") / digest
    python, marker = folder / "bin/python", folder / "installed"
    if not marker.exists():
        commands = [
            [sys.executable, "-m", "venv", "--clear", str(folder)],
            [str(python), "-m", "pip", "install", "--quiet", "--no-compile", "--retries", "1",
             "--disable-pip-version-check", *requirements],
        ]  # fmt: skip
        for command in commands:
            finished = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
            if finished.returncode:
                reason = finished.stderr.strip().splitlines()[-1:]
                pytest.skip(f"Flower cannot be installed, and {INTERPRETER} is not set: {reason}")
        marker.touch()
    return python
