"""The journey of a user: all is started, a training is triggered, feedback comes in."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from chronotope.cli.processes import is_taken
from chronotope.cli.up import MLFLOW, PREFECT, SERVICE
from chronotope.feedback.take import mark_path
from chronotope.feedback.watermark import read_watermark
from chronotope.registry.promotion import current_champion
from chronotope.registry.store import open_store
from tests.flows.feedback_town import TINY, Town

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[2]
COMMAND = "from chronotope.cli.main import run; run()"
PATIENCE_S = 1_200


@dataclass(frozen=True)
class Installation:
    """A running ``chronotope up``, asked as a browser asks it."""

    town: Town
    process: "subprocess.Popen[str]"
    addresses: dict[str, str]

    def call(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(  # noqa: S310 - our own server
            f"{self.addresses[PREFECT]}/api{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json"},
        )
        until = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                    return json.load(answer)
            except urllib.error.HTTPError as error:  # SQLite is busy: every client asks again
                if error.code != http.client.SERVICE_UNAVAILABLE or time.monotonic() > until:
                    raise
                time.sleep(1)

    def trigger(self, flow: str, **changed: Any) -> str:
        """Start a deployment with its defaults, some of them changed, as the form does."""
        deployment = self.call("GET", f"/deployments/name/{flow}/town")
        told = {"parameters": deployment["parameters"] | changed}
        return str(
            self.call("POST", f"/deployments/{deployment['id']}/create_flow_run", told)["id"]
        )

    def finish(self, run: str) -> None:
        """Wait until a run has ended well."""
        until = time.monotonic() + PATIENCE_S
        while (state := self.call("GET", f"/flow_runs/{run}")["state"])["type"] != "COMPLETED":
            assert state["type"] in {"SCHEDULED", "PENDING", "RUNNING"}, state
            assert time.monotonic() < until, state
            time.sleep(0.5)

    def artifacts(self) -> set[str]:
        return {found["key"] for found in self.call("POST", "/artifacts/filter", {})}


def free_ports() -> list[int]:
    sockets = [socket.socket() for _ in range(3)]
    for sock in sockets:
        sock.bind(("127.0.0.1", 0))
    ports = [int(sock.getsockname()[1]) for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    town = Town(tmp_path).settle()
    config = tmp_path / "tiny.yaml"
    config.write_text(yaml.safe_dump(TINY), encoding="utf-8")
    told: list[Any] = ["up", "--dataset", town.spec, "--config", config, "--root", tmp_path]
    for option, port in zip(("prefect", "mlflow", "service"), free_ports(), strict=True):
        told += [f"--{option}-port", port]
    hidden = ("PREFECT_HOME", "PREFECT_API_URL")
    with subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", COMMAND, *map(str, told), "--json", "--paused"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
        env={name: of for name, of in os.environ.items() if name not in hidden},
    ) as process:
        try:
            yield Installation(town, process, json.loads(document(process))["addresses"])
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def document(process: "subprocess.Popen[str]") -> str:
    """The JSON that a process prints once it is ready."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line == "}\n":
            return "".join(lines)
    raise AssertionError("it ended before it was ready")


def test_from_the_form_to_a_champion_and_on_by_feedback(installation: Installation) -> None:
    town, store = installation.town, open_store(installation.town.workspace.mlruns)
    assert set(installation.addresses) == {PREFECT, MLFLOW, SERVICE}
    installation.finish(installation.trigger("train-model"))
    if current_champion(store, "town") is None:  # the gate is strict, the training tiny
        by_hand = {"version": "1", "reason": "the journey goes on"}
        installation.finish(installation.trigger("promote-model", **by_hand))
    assert current_champion(store, "town") == "1"
    known = set(town.lake.read("events")["item_id"].to_pylist())
    news = [event for event in town.later() if event["item_id"] in known][:400]
    town.log([*news, {"user_id": "nobody"}])
    n_before = len(town.lake.read("events"))
    first = installation.trigger("collect-feedback", feedback={"min_rows": 100})
    second = installation.trigger("collect-feedback", feedback={"min_rows": 100})
    installation.finish(first)
    installation.finish(second)  # waits for the first, and finds nothing new
    assert len(town.lake.read("events")) == n_before + 400
    assert len(town.lake.read("quarantine")) == 1
    mark = read_watermark(mark_path(town.workspace, "town"))
    assert (mark.seq, mark.learned_version) == (401, town.lake.table_version("events"))
    assert len(store.client.search_model_versions("name='town'")) == 2
    wanted = {"feedback-town", "feedback-town-decision", "train-town", "train-town-mlflow"}
    assert wanted <= installation.artifacts()
    made = store.client.get_run(store.client.get_model_version("town", "2").run_id)
    assert made.data.tags["made_by"].startswith(installation.addresses[PREFECT])
    assert_ends_cleanly(installation)


def assert_ends_cleanly(installation: Installation) -> None:
    installation.process.send_signal(signal.SIGTERM)
    assert installation.process.wait(60) == 0
    ports = [int(address.rsplit(":", 1)[1]) for address in installation.addresses.values()]
    assert not any(map(is_taken, ports))
