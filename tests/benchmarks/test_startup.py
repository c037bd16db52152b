"""The start-up benchmark: medians, ratios to alternatives of the same run, and what it runs."""

import sys
from pathlib import Path

import pytest

from benchmarks import startup
from benchmarks.startup import ProcessTime, TimedCommand, commands, table, time_commands
from chronotope.datasets.loading import load_spec


def test_rows_are_medians_and_ratios_of_processor_seconds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seconds = {"torch": iter([9.0, 1.0, 2.0, 4.0]), "run": iter([9.0, 1.0, 0.5, 3.0])}
    roots = []

    def time_process(words: list[str], exit_code: int) -> ProcessTime:
        name = "torch" if "import torch" in words else "run"
        roots.extend(word for word in words if word.startswith(str(tmp_path)))
        assert exit_code == (2 if name == "run" else 0)
        return ProcessTime(wall_s=5.0, cpu_s=next(seconds[name]))

    monkeypatch.setattr(startup, "time_process", time_process)
    monkeypatch.setattr(startup, "ALTERNATIVES", {"import torch": ("python", "import torch")})
    command = TimedCommand("ingest", ("ingest", "--root", "NEW_ROOT"), "import torch", exit_code=2)
    rows = time_commands((command,), 3, tmp_path)
    assert rows[0] == {"name": "import torch", "wall_s": 5.0, "cpu_s": 2.0}
    assert (rows[1]["cpu_s"], rows[1]["ratio"]) == (1.0, 0.5)  # the first round is dropped
    assert len(set(roots)) == 4  # each run has a root of its own
    assert "| `chronotope ingest` | 5.00 | 1.00 | 0.50 of `import torch` |" in table(rows)


def test_each_command_is_compared_with_a_program_of_the_run(tmp_path: Path) -> None:
    timed = commands(tmp_path / "root", "town", tmp_path)
    assert {command.alternative for command in timed} <= startup.ALTERNATIVES.keys()
    assert {"--help", "recommend"} <= {command.name for command in timed}
    city = load_spec(tmp_path / "thousand_rows.yaml").city
    assert city is not None
    assert city.n_events == startup.N_ROWS


def test_a_program_is_timed_and_has_to_end_as_expected() -> None:
    busy = "sum(range(3_000_000)); raise SystemExit(3)"
    timed = startup.time_process([sys.executable, "-I", "-c", busy], 3)
    assert 0 < timed.cpu_s < timed.wall_s + 1
    with pytest.raises(RuntimeError, match="ended with 3"):
        startup.time_process([sys.executable, "-I", "-c", busy], 0)
