"""The journey of a user, and what other websites can do meanwhile: nothing."""

import base64
import contextlib
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
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from selenium.webdriver import Chrome
from selenium.webdriver.support.expected_conditions import element_to_be_clickable
from selenium.webdriver.support.wait import WebDriverWait

from chronotope.cli.up import MLFLOW, PREFECT, SERVICE
from chronotope.feedback.intake import watermark_path
from chronotope.feedback.watermark import read_watermark
from chronotope.lake import InteractionLog
from chronotope.registry.mlflow_store import open_store
from chronotope.registry.promotion import current_champion
from chronotope.runtime.processes import http_get_body, is_port_in_use
from tests.behaviour.foreign_site import attack, foreign_site
from tests.flows.feedback_town import TINY, Town
from tests.serving.browser import chromium, wait

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
    password_file: Path

    @property
    def password(self) -> str:
        return self.password_file.read_text().strip()

    def port(self, part: str) -> int:
        return int(self.addresses[part].rsplit(":", 1)[1])

    def basic(self) -> str:
        return f"Basic {base64.b64encode(self.password.encode()).decode()}"

    def status(self, part: str, method: str, path: str, body: Any, **headers: str) -> int:
        """Status of the answer to a request with exactly these headers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port(part), timeout=30)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            data = json.dumps(body).encode()
            sent = {"host": f"127.0.0.1:{self.port(part)}", "content-length": str(len(data))}
            for name, value in (
                sent | {n.replace("_", "-"): v for n, v in headers.items()}
            ).items():
                connection.putheader(name, value)
            connection.endheaders(data)
            return connection.getresponse().status
        finally:
            connection.close()

    def call(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(  # noqa: S310 - our own server
            f"{self.addresses[PREFECT]}/api{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json", "authorization": self.basic()},
        )
        until = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                    return json.loads(answer.read() or "null")
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


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Started once for all tests of this file; the last of them ends it."""
    tmp_path = tmp_path_factory.mktemp("town")
    town = Town(tmp_path).settle()
    config = tmp_path / "tiny.yaml"
    config.write_text(yaml.safe_dump(TINY), encoding="utf-8")
    told: list[Any] = ["up", "--dataset", town.spec, "--config", config, "--root", tmp_path]
    for option, port in zip(("prefect", "mlflow", "service"), free_ports(), strict=True):
        told += [f"--{option}-port", port]
    hidden = ("PREFECT_HOME", "PREFECT_API_URL", "PREFECT_SERVER_API_AUTH_STRING")
    with subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", COMMAND, *map(str, told), "--json", "--paused"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
        env={name: of for name, of in os.environ.items() if name not in hidden},
    ) as process:
        try:
            told_back = json.loads(document(process))
            password_file = Path(told_back["prefect_password_file"])
            yield Installation(town, process, told_back["addresses"], password_file)
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


def test_a_user_signs_in_once_and_runs_a_flow_by_its_form(installation: Installation) -> None:
    with chromium() as browser:
        browser.get(f"{installation.addresses[PREFECT]}/v2/deployments")
        wait(browser, "document.querySelector('input[type=password]')")
        field = browser.find_element("css selector", "input[type=password]")
        field.send_keys(installation.password, "\n")
        wait(browser, "document.body.innerText.includes('17 Deployments')")
        known = installation.call("GET", "/deployments/name/ingest-events/town")["id"]
        press(browser, f"//a[contains(@href, 'deployment/{known}')]")
        choose(browser, "Custom run", of="Run")
        press(browser, "//button[normalize-space(.)='Submit']")
        until = time.monotonic() + 60
        while not (runs := installation.call("POST", "/flow_runs/filter", {})):
            assert time.monotonic() < until, "the form started nothing"
            time.sleep(0.5)
    (run,) = runs
    assert run["deployment_id"] == known
    installation.finish(run["id"])


def press(browser: Chrome, path: str) -> None:
    """Click an element once it can be clicked."""
    WebDriverWait(browser, 30).until(element_to_be_clickable(("xpath", path))).click()


def choose(browser: Chrome, entry: str, *, of: str) -> None:
    """Click an entry of a menu, which a page that is still loading closes again."""
    path = f"//*[@role='menuitem'][normalize-space(.)='{entry}']"
    until = time.monotonic() + 60
    while not browser.find_elements("xpath", path):
        assert time.monotonic() < until, f"the menu {of} does not open"
        press(browser, f"//button[normalize-space(.)='{of}']")
        time.sleep(1)
    press(browser, path)


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
    mark = read_watermark(watermark_path(town.workspace, "town"))
    assert (mark.seq, mark.learned_version) == (401, town.lake.table_version("events"))
    assert len(store.client.search_model_versions("name='town'")) == 2
    wanted = {"feedback-town", "feedback-town-decision", "train-town", "train-town-mlflow"}
    assert wanted <= installation.artifacts()
    made = store.client.get_run(store.client.get_model_version("town", "2").run_id)
    assert made.data.tags["made_by"].startswith(installation.addresses[PREFECT])


def test_the_password_is_in_no_log_no_command_line_and_no_file_of_others(
    installation: Installation,
) -> None:
    secret = installation.password.split(":")[1]
    assert installation.password_file.stat().st_mode & 0o777 == 0o600
    logs = list((installation.town.root / "data" / "logs").glob("*.log"))
    assert logs
    assert not [log for log in logs if secret in log.read_text(errors="replace")]
    command_lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            command_lines.append(path.read_text(errors="replace"))
    assert any("flows.prefect_app" in words for words in command_lines)
    assert not [words for words in command_lines if secret in words]


def malicious_deployment(installation: Installation, target: Path) -> dict[str, Any]:
    """A deployment that runs a shell command before its flow."""
    known = installation.call("GET", "/deployments/name/ingest-events/town")
    shell = {"script": f"touch {target}"}
    step = {"prefect.deployments.steps.utility.run_shell_script": shell}
    return {"name": "malicious", "flow_id": known["flow_id"], "pull_steps": [step]}


def test_nobody_without_the_password_or_from_elsewhere_is_answered(
    installation: Installation, tmp_path: Path
) -> None:
    body = malicious_deployment(installation, tmp_path / "taken")
    known = installation.call("GET", "/deployments/name/ingest-events/town")["id"]
    prefect, mlflow = installation.port(PREFECT), installation.port(MLFLOW)
    n_runs = len(installation.call("POST", "/flow_runs/filter", {}))
    json_type = {"content_type": "application/json"}
    secret = {"authorization": installation.basic()}
    wrong = base64.b64encode(b"chronotope:guess").decode()
    refused: list[tuple[dict[str, str], int]] = [
        (json_type, 401),  # another account of this machine
        ({**json_type, "authorization": f"Basic {wrong}"}, 401),
        ({"content_type": "text/plain"}, 401),
        ({**json_type, **secret, "origin": "http://evil.example"}, 403),
        ({"content_type": "text/plain", **secret, "origin": "http://evil.example"}, 403),
        ({**json_type, **secret, "origin": "null"}, 403),
        ({**json_type, **secret, "origin": f"http://127.0.0.1:{mlflow}"}, 403),
        ({**json_type, **secret, "host": f"evil.example:{prefect}"}, 403),
        ({**json_type, **secret, "host": f"10.evil.example:{prefect}"}, 403),
    ]
    for path in ("/api/deployments/", f"/api/deployments/{known}/create_flow_run"):
        for headers, wanted in refused:
            assert installation.status(PREFECT, "POST", path, body, **headers) == wanted, headers
        preflight = {"origin": "http://evil.example", "access_control_request_method": "POST"}
        assert installation.status(PREFECT, "OPTIONS", path, {}, **preflight) == 403
    search = ("POST", "/ajax-api/2.0/mlflow/experiments/search", {"max_results": 1})
    assert installation.status(MLFLOW, *search, **json_type) == 200
    for headers in (
        {"host": f"10.evil.example:{mlflow}"},
        {"origin": "http://evil.example"},
        {"origin": "http://127.0.0.1:1"},
    ):
        assert installation.status(MLFLOW, *search, **json_type, **headers) == 403
    assert len(installation.call("POST", "/flow_runs/filter", {})) == n_runs
    made = installation.call("POST", "/deployments/", body)  # the same, by who may
    installation.call("DELETE", f"/deployments/{made['id']}")
    assert not (tmp_path / "taken").exists()


def test_a_website_reads_and_runs_nothing(installation: Installation, tmp_path: Path) -> None:
    prefect, mlflow, service = (installation.addresses[n] for n in (PREFECT, MLFLOW, SERVICE))
    known = installation.call("GET", "/deployments/name/ingest-events/town")["id"]
    before = state_of(installation)
    until = time.monotonic() + 120
    while http_get_body(installation.port(SERVICE), "/health") is None:
        assert time.monotonic() < until, "the service did not start"
        time.sleep(0.5)
    experiments = f"{mlflow}/ajax-api/2.0/mlflow/experiments"
    reads = [
        f"{prefect}/api/health",
        f"{prefect}/ui-settings",
        f"{mlflow}/version",
        f"{experiments}/search?max_results=9",
        f"{service}/users",
    ]
    writes = [
        (f"{prefect}/api/deployments/", malicious_deployment(installation, tmp_path / "taken")),
        (f"{prefect}/api/deployments/{known}/create_flow_run", {"name": "malicious"}),
        (f"{experiments}/create", {"name": "malicious"}),
        (f"{service}/events", {"user_id": "malicious", "item_id": "i1"}),
    ]
    sockets = [f"{prefect.replace('http', 'ws')}/api/events/{way}" for way in ("in", "out")]
    with (
        foreign_site() as port,
        chromium("--host-resolver-rules=MAP *.example 127.0.0.1") as browser,
    ):
        for host in ("127.0.0.1", "evil.example"):
            own = f"http://{host}:{port}/"
            browser.get(own)
            got = attack(browser, reads=[own, *reads], writes=writes, sockets=sockets)
            assert [name for name in got if not name.startswith("script")] == [f"read {own}"]
            assert not [name for name in got if prefect in name or mlflow in name]
        for part in (PREFECT, MLFLOW):  # DNS rebinding: the attacker's name, our port
            browser.get(f"http://10.evil.example:{installation.port(part)}/")
            assert "not the name of this server" in browser.page_source
        browser.get(f"http://10.evil.example:{installation.port(SERVICE)}/users")
        assert "This host name is not served" in browser.page_source
    assert state_of(installation) == before
    store = open_store(installation.town.workspace.mlruns)
    assert store.client.get_experiment_by_name("malicious") is None
    assert not (tmp_path / "taken").exists()


def state_of(installation: Installation) -> tuple[int, int, int]:
    """How many deployments, flow runs and logged interactions there are."""
    n_deployments, n_runs = (
        len(installation.call("POST", f"/{kind}/filter", {}))
        for kind in ("deployments", "flow_runs")
    )
    with closing(InteractionLog(installation.town.workspace.interactions("town"))) as log:
        return n_deployments, n_runs, log.last()


def test_all_ends_with_sigterm(installation: Installation) -> None:
    installation.process.send_signal(signal.SIGTERM)
    assert installation.process.wait(60) == 0
    ports = [int(address.rsplit(":", 1)[1]) for address in installation.addresses.values()]
    assert not any(map(is_port_in_use, ports))
