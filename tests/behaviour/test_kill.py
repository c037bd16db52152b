"""Killed where most could be done twice, flows end as if nothing had been.

The whole matrix of steps and points is ``python -m benchmarks.kill_matrix``.
"""

from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL

from benchmarks.kill_matrix.__main__ import Matrix

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect")]


def test_killed_in_a_step_flows_end_as_the_undisturbed_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", PREFECT_API_URL.value() or "")
    for flow, step in (
        ("train_model", "register_version"),
        ("collect_feedback", "promote_version"),
    ):
        (row,) = Matrix(flow, tmp_path).outcomes([step], ["half-way", "done"])
        assert row["differs"] == [], row
        assert row["killed"] == ["half-way", "done"], row
