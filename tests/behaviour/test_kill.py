"""A training killed after any step goes on where it was, and ends as if nothing had been."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL

from chronotope.lake import Lake
from chronotope.registry.promotion import current_champion, history
from chronotope.registry.store import open_store

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect")]

PROJECT = Path(__file__).parents[2]
CITY = """
name: town
description: A small simulated city.
licence: CC0-1.0
items_are_places: true
city: {n_events: 4000, n_users: 60, n_items: 60, days: 60, seed: 7}
"""
SETTINGS = """
folds: {k: 1}
study: {n_trials: 1}
model: {history_len: 128}
training: {max_epochs: 6, n_rounds: 2, batch_size: 64}
compression: {variants: [int8_tables], pruned_units: 0.0, n_runs: 10, max_latency_ms: 10000}
gate: {max_p_value: 0.99}
bless: {max_latency_ms: 10000}
trial_targets: 500
max_fold_targets: 100
max_holdout_targets: 300
"""
COMMAND = "from chronotope.cli.main import run; run()"


@dataclass(frozen=True)
class Town:
    """Trainings in processes of their own, below one root."""

    root: Path

    def start(self) -> subprocess.Popen[str]:
        (self.root / "town.yaml").write_text(CITY, encoding="utf-8")
        (self.root / "settings.yaml").write_text(SETTINGS, encoding="utf-8")
        told = ["train", self.root / "town.yaml", "--config", self.root / "settings.yaml"]
        command = [sys.executable, "-c", COMMAND, *told, "--root", self.root, "--json"]
        return subprocess.Popen(  # noqa: S603 - our own interpreter
            [str(word) for word in command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=PROJECT,
            env={**os.environ, "PREFECT_API_URL": PREFECT_API_URL.value() or ""},
            start_new_session=True,
        )

    def finish(self) -> dict[str, Any]:
        said, errors = self.start().communicate(timeout=500)
        assert said, errors
        result: dict[str, Any] = json.loads(said[said.index("{") :])
        return result

    def kill_after(self, step: str) -> None:
        process = self.start()
        runs = self.root / "data" / "runs" / "town"
        while not list(runs.glob(f"*/{step}.json")):
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, f"it ended before the kill after {step}"

    def state(self) -> dict[str, Any]:
        """What is to be the same: the champion, promotions, and rows and versions of tables."""
        store, lake = open_store(self.root / "mlruns"), Lake(self.root / "data" / "lake" / "town")
        tables = ("events", "items")
        return {
            "champion": current_champion(store, "town"),
            "alias": str(store.client.get_model_version_by_alias("town", "champion").version),
            "versions": len(store.client.search_model_versions("name='town'")),
            "promotions": [(entry.kind, entry.state) for entry in history(store, "town")],
            "tables": {name: (len(lake.read(name)), lake.version(name)) for name in tables},
        }


def test_killed_after_each_step_it_ends_as_the_undisturbed_run(tmp_path: Path) -> None:
    calm, killed = Town(tmp_path / "calm"), Town(tmp_path / "killed")
    for town in (calm, killed):
        town.root.mkdir()
    wanted = calm.finish()
    for step in ("train_final", "register_bundle"):
        killed.kill_after(step)
    found = killed.finish()
    assert found["judged"]["models"] == wanted["judged"]["models"]
    assert found["tuned"] == wanted["tuned"]
    assert wanted["promoted"]["promoted"], wanted["promoted"]["reasons"]
    assert killed.state() == calm.state()
