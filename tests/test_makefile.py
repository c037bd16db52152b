"""What the targets of the Makefile hand to the processes they start."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]


def test_all_is_installed_at_once_and_then_up_to_date(tmp_path: Path) -> None:
    make = shutil.which("make")
    if make is None:
        pytest.skip("no make here")
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(PROJECT / name, tmp_path)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    called = tmp_path / "called"
    python.write_text(f'#!/bin/sh\necho "$@" >> {called}\n')
    python.chmod(0o755)
    for target in (".venv/.installed-everything", "setup", ".venv/.installed-docs"):
        subprocess.run([make, target], cwd=tmp_path, capture_output=True, check=True)  # noqa: S603
    (installation,) = called.read_text().splitlines()
    assert installation.endswith(".[demo,test,content,dev,docs]")


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
