"""What the targets of the Makefile hand to the processes they start."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]


def test_processes_of_make_may_store_compiled_modules() -> None:
    make = shutil.which("make")
    if make is None:
        pytest.skip("no make here")
    printed = subprocess.run(  # noqa: S603 - our own Makefile
        [make, "--no-print-directory", "--eval=environment:; @env", "environment"],
        cwd=PROJECT,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert "OMP_WAIT_POLICY=PASSIVE" in printed
    assert not [line for line in printed if line.startswith("PYTHONDONTWRITEBYTECODE=")]
