"""The engine's benchmark keeps processors as busy as it says."""

import time

from benchmarks.engine import measure, timed
from chronotope.runtime.engine import EngineConfig, LocalEngine


def test_busy_tasks_take_their_time() -> None:
    began = time.process_time()
    assert timed(LocalEngine(), 0.05, 2) > 0
    assert 0.1 <= time.process_time() - began < 1


def test_an_engine_is_measured_against_this_process() -> None:
    found = measure(EngineConfig(), 20, 0.01)
    assert found["busy_here_s"] > 0
    assert 0 <= found["empty_ms"] < 10
