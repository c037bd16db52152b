"""The matrix kills what the flows call, where it says; what it does not know it refuses.

That flows end the same is for ``tests/behaviour/test_kill.py``.
"""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.kill_matrix.__main__ import _table, main
from benchmarks.kill_matrix.doom import _ROOMS, POINTS, STEPS

PROJECT = Path(__file__).parents[2]
DYING = """
import os, sys, time
from benchmarks.kill_matrix.doom import Doom, _replace
import flows.train_model as flow

def work(given):
    print("began", flush=True)
    time.sleep(60 if sys.argv[1] == "half-way" else 0)
    print("ended", flush=True)

os.setsid()
_replace("publish", lambda _: Doom("publish", sys.argv[1], 1.0).wrap(work))
flow.publish("a run")
"""
DONE = {"start": "", "half-way": "began\n", "done": "began\nended\n"}


def test_every_step_is_what_a_flow_calls() -> None:
    for steps in STEPS.values():
        assert len(set(steps)) == len(steps)
        for step in steps:
            assert any(callable(getattr(room, step, None)) for room in _ROOMS), step


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_a_doomed_step_dies_where_it_is_told(point: str) -> None:
    words = [sys.executable, "-c", DYING, point]
    done = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert done.stdout == DONE[point]


@pytest.mark.parametrize("words", [["--steps", "no_step"], ["--flows", ""], ["--points", "later"]])
def test_what_it_does_not_know_is_refused(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    assert "choose from" in capsys.readouterr().err


def test_a_difference_is_told() -> None:
    row = {"flow": "train_model", "step": "publish", "step_s": 1.0, "again_s": 2.0}
    same = {**row, "killed": [*POINTS], "differs": []}
    early = {**same, "killed": ["start", "half-way"]}
    table = _table([same, {**same, "differs": ["metrics"]}, early], POINTS)
    told = ["the same", "differs: metrics", "the same (done: nothing was left to do)"]
    assert list(table.columns[3].cells) == told
