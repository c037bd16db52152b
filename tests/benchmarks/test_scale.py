"""The scale benchmark runs the stages of the flows, and its slopes are slopes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.process_costs import mark_processes, measured_processes
from benchmarks.scale.__main__ import slopes
from benchmarks.scale.stages import STAGES, measure


def row(stage: str, events: int, cpu_s: float, peak_mb: float = 100.0) -> dict[str, object]:
    return {"name": stage, "events": events, "cpu_s": cpu_s, "peak_mb": peak_mb}


def test_a_quadratic_stage_has_slope_two_and_misses_a_linear_one_meets() -> None:
    sizes = (1_000, 10_000, 100_000)
    rows = [row("ingestion", n, n / 1e3) for n in sizes]
    rows += [row("features", n, n**2 / 1e6) for n in sizes]
    found = {each["name"]: each for each in slopes(rows)}
    assert (found["ingestion"]["slope"], found["ingestion"]["met"]) == (1.0, True)
    assert (found["features"]["slope"], found["features"]["met"]) == (2.0, False)
    assert set(found) == {"ingestion", "features"}


def test_the_last_step_is_told_apart_from_fixed_costs() -> None:
    rows = [row("loading", 10, 1.0, 100.0), row("loading", 100, 1.0), row("loading", 1_000, 10.0)]
    rows[-1]["peak_mb"] = 109.0
    (found,) = slopes(rows)
    assert found["slope"] == 0.5
    assert found["last_slope"] == 1.0
    assert found["memory_bytes_an_event"] == pytest.approx(9 * 2**20 / 900, abs=0.1)


def test_one_size_has_no_slope() -> None:
    assert slopes([row("ingestion", 10, 1.0)]) == []


@pytest.mark.slow
def test_every_stage_works_on_what_the_one_before_left(tmp_path: Path) -> None:
    rows = [measure(stage, tmp_path, 2_000, "local", 2) for stage in STAGES]
    assert [each["name"] for each in rows] == list(STAGES)
    assert all(each["cpu_s"] > 0 and each["peak_mb"] > 0 for each in rows)
    by = {each["name"]: each for each in rows}
    assert by["loading"]["n_events"] == by["features"]["n_kept"] > 1_900
    assert by["evaluation"]["n_targets"] > 100
    assert by["evaluation"]["acc_10"] > 0.5  # people return; ten of 1,000 places by chance: .01
    assert by["batches"]["n_batches"] > 0


@pytest.mark.slow
def test_costs_are_those_of_all_processes_and_the_memory_that_of_the_largest() -> None:
    mark_processes()
    waste = "import time; rows = bytearray(150 * 2**20); end = time.process_time() + 0.5\n"
    waste += "while time.process_time() < end: pass\ntime.sleep(1)"
    with measured_processes() as costs:
        subprocess.run([sys.executable, "-c", waste], check=True)  # noqa: S603 - our own
    (largest,) = {mb for pid, mb in costs.peak_mb.items() if pid != os.getpid()}
    assert 150 < largest <= costs.largest_mb
    assert costs.total_mb > 150
    assert 0.4 < costs.total_cpu_s < 5
