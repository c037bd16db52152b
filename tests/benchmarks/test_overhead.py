"""The overhead benchmark's bare way is the flow's work, without the flow's libraries."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import overhead
from chronotope.cli.output.console import _QUIET


def test_the_bare_way_imports_neither_prefect_nor_mlflow() -> None:
    code = (
        "import sys, benchmarks.overhead; "
        "sys.exit(any(m in sys.modules for m in ('prefect', 'mlflow')))"
    )
    root = Path(overhead.__file__).parents[1]
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, check=False, cwd=root).returncode == 0  # noqa: S603


def test_libraries_are_as_quiet_as_under_the_command() -> None:
    assert overhead.QUIET.items() <= _QUIET.items()


def test_the_ratio_is_the_median_of_the_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"bare": iter([10.0, 20.0, 10.0]), "flow": iter([11.0, 30.0, 12.0])}
    order = []

    def measured(way: str, *_: object) -> dict[str, float]:
        order.append(way)
        return {"seconds": next(told[way]), "steps_s": 1.0}

    monkeypatch.setattr(overhead, "measured", measured)
    monkeypatch.setattr(overhead, "first_start", lambda _: 6.0)
    rows = overhead.compared("city", overhead.QUICK, 3)
    assert order == ["bare", "flow", "flow", "bare", "bare", "flow"]
    assert (rows[0]["seconds"], rows[1]["seconds"], rows[1]["ratio"]) == (10.0, 12.0, 1.2)
