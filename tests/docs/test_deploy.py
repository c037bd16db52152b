"""docs/deploy/: it parses, its commands and options exist, and it holds no secret."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from chronotope.lake import Lake
from chronotope.runtime.store_urls import (
    ARTIFACTS_URL,
    LAKE_URL,
    MLFLOW_URL,
    OPTUNA_URL,
    artifacts_url,
)
from chronotope.runtime.workspace import Workspace
from chronotope.serving.telemetry import Telemetry
from tests.lake.test_staged_batch import deliver, events, ids
from tests.s3 import running_s3

PROJECT = Path(__file__).parents[2]
DEPLOY = PROJECT / "docs" / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
VENV = "/opt/chronotope/.venv/bin/"
OWN = ("service", "watcher", "worker", "server", "mlflow", "deploy")
OTHERS = ("postgres", "store", "bucket")
CHRONOTOPE = (sys.executable, "-c", "from chronotope.cli.main import run; run()")


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    return found


def started(unit: Path) -> list[str]:
    (line,) = re.findall(r"^ExecStart=(.*)$", unit.read_text(encoding="utf-8"), re.MULTILINE)
    assert line.startswith(VENV)
    return shlex.split(line.removeprefix(VENV))


def commands() -> dict[str, list[str]]:
    """What the units and the containers start."""
    ours = {f"compose {name}": compose()["services"][name]["command"] for name in OWN}
    return ours | {unit.name: started(unit) for unit in UNITS}


def settings() -> dict[str, str]:
    lines = (DEPLOY / "chronotope.env.example").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_units_and_containers_run_the_same_programs() -> None:
    same = {"server": "prefect", "mlflow": "mlflow", "worker": "worker", "service": "serve",
            "watcher": "watch"}  # fmt: skip
    for container, unit in same.items():
        told = sorted(commands()[f"compose {container}"])
        assert told == sorted(commands()[f"chronotope-{unit}.service"])


def test_everything_listens_on_loopback_alone() -> None:
    for name, words in commands().items():
        if "--port" in words:
            assert words[words.index("--host") + 1] == "127.0.0.1", name
    services = compose()["services"]
    assert set(services) == {*OWN, *OTHERS}
    assert "listen_addresses=127.0.0.1" in services["postgres"]["command"]
    told = services["store"]["command"]
    for option in ("--address", "--console-address"):
        assert told[told.index(option) + 1].startswith("127.0.0.1:")


def test_secrets_stand_in_the_environment_file_alone() -> None:
    secrets = {name for name, of in settings().items() if "CHANGE-ME" in of}
    assert {"PREFECT_API_AUTH_STRING", "MLFLOW_AUTH_ADMIN_PASSWORD", "CHRONOTOPE_API_KEY"} < secrets
    for path in (DEPLOY / "compose.yaml", DEPLOY / "Dockerfile", *UNITS):
        text = path.read_text(encoding="utf-8")
        assert "CHANGE-ME" not in text
        assert not re.findall(rf"({'|'.join(secrets - {'CHRONOTOPE_API_KEY'})})", text)


def test_every_variable_that_is_used_is_set() -> None:
    told = settings()
    for path in (DEPLOY / "compose.yaml", PROJECT / "prefect.yaml", *UNITS):
        used = re.findall(r"\$\{?(CHRONOTOPE_\w+)", path.read_text(encoding="utf-8"))
        assert set(used) <= set(told), path.name
    assert told["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
    assert told["CHRONOTOPE_ALLOWED_ROOTS"] == told["CHRONOTOPE_ROOT"]


def test_containers_and_the_target_name_what_there_is() -> None:
    services, volumes = compose()["services"], compose()["volumes"]
    for name, of in services.items():
        assert set(of.get("depends_on", ())) <= set(services), name
        named = {told.split(":")[0] for told in of["volumes"] if not told.startswith(".")}
        assert named <= set(volumes), name
    assert (DEPLOY / "databases.sql").is_file()
    target = (DEPLOY / "systemd" / "chronotope.target").read_text(encoding="utf-8")
    assert set(re.findall(r"chronotope-\w+\.service", target)) == {unit.name for unit in UNITS}


def test_images_are_pinned() -> None:
    images = {name: of["image"] for name, of in compose()["services"].items()}
    others = {name: image for name, image in images.items() if image != "chronotope"}
    assert set(others) == {"postgres", "store"}
    assert all(re.search(r":\w[\w.-]*\d", image) for image in others.values())


def test_our_variables_are_those_the_code_reads() -> None:
    ours = {name for name in settings() if name.startswith("CHRONOTOPE_")}
    assert {LAKE_URL, ARTIFACTS_URL, MLFLOW_URL, OPTUNA_URL} < ours
    places = [*PROJECT.glob("components/**/*.py"), *PROJECT.glob("flows/*.py")]
    places += [PROJECT / "prefect.yaml", DEPLOY / "compose.yaml"]
    read = "".join(path.read_text(encoding="utf-8") for path in places)
    assert [name for name in ours if not re.search(rf"\b{name}\b", read)] == []


def test_the_lake_is_written_with_the_lines_of_the_environment_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against an S3 server in the place of MinIO, in the bucket that the container makes."""
    pytest.importorskip("boto3", reason="needs boto3: the extra `scale`")
    _, *words = compose()["services"]["bucket"]["command"]
    with running_s3() as server:
        for name, value in settings().items():
            if name.startswith("AWS_") or name in {LAKE_URL, ARTIFACTS_URL}:
                monkeypatch.setenv(name, value)
        for name in ("AWS_ENDPOINT_URL", "NO_PROXY"):
            monkeypatch.setenv(name, server.environment[name])
        for _ in range(2):
            subprocess.run([sys.executable, *words], check=True)  # noqa: S603 - our interpreter
        lake = Lake(Workspace(tmp_path).lake("shop"))
        deliver(lake, events("ab"))
        assert (lake.root, ids(lake)) == ("s3://chronotope/lake/shop", ["a", "b"])
    assert artifacts_url(tmp_path) == "s3://chronotope/artifacts"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_finds_no_fault_with_the_units(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("python", "chronotope"):
        (tmp_path / "bin" / name).symlink_to(sys.executable)
    for unit in (DEPLOY / "systemd").iterdir():
        text = unit.read_text(encoding="utf-8").replace(VENV, f"{tmp_path}/bin/")
        (tmp_path / unit.name).write_text(text, encoding="utf-8")
    units = [str(path) for path in tmp_path.glob("chronotope*.*")]
    told = ["systemd-analyze", "verify", "--man=no", *units]
    done = subprocess.run(told, capture_output=True, text=True, check=False)  # noqa: S603
    assert (done.returncode, done.stderr) == (0, "")


@cache
def help_of(command: tuple[str, ...]) -> str:
    env = os.environ | {"COLUMNS": "250", "NO_COLOR": "1", "TERM": "dumb"}
    told = [*CHRONOTOPE, *command[1:]] if command[0] == "chronotope" else [sys.executable, *command]
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [*told, "--help"], capture_output=True, text=True, check=False, env=env, cwd=PROJECT
    )
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", commands())
def test_the_commands_exist_and_know_their_options(name: str) -> None:
    words = [word for word in commands()[name] if word not in {"python", "--no-prompt"}]
    end = next(n for n, word in enumerate(words) if word.startswith(("--", "$")))
    known = help_of(tuple(words[:end]))
    options = [word for word in words[end:] if word.startswith("--")]
    assert options
    assert [option for option in options if option not in known] == []


def series_names() -> set[str]:
    """Names of the time series that Prometheus stores of the service, after some requests."""
    telemetry = Telemetry()
    for metric in vars(telemetry).values():
        label_names = getattr(metric, "_labelnames", ())
        if label_names:  # a metric with labels has no series before its first value
            metric.labels(*label_names)
    page = telemetry.metrics_page().decode()
    return set(re.findall(r"^(chronotope_\w+)", page, re.MULTILINE))


def label_names(part: str) -> set[str]:
    """Names of the labels in a filter or a grouping of a query."""
    return set(re.findall(r"\w+", re.sub(r'"[^"]*"', "", part)))


def test_dashboard_and_alerts_query_series_that_exist() -> None:
    dashboard = json.loads((DEPLOY / "grafana-dashboard.json").read_text(encoding="utf-8"))
    rules = yaml.safe_load((DEPLOY / "prometheus-alerts.yml").read_text(encoding="utf-8"))
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    queries += [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    assert len(queries) > 20
    queried = {name for query in queries for name in re.findall(r"chronotope_\w+", query)}
    assert queried <= series_names()
    metrics = vars(Telemetry()).values()
    known = {name for metric in metrics for name in getattr(metric, "_labelnames", ())}
    for query in queries:
        parts = re.findall(r"{(.*?)}", query) + re.findall(r"by \((.*?)\)", query)
        assert set().union(*map(label_names, parts)) <= known | {"job", "le"}, query


def test_prometheus_scrapes_the_address_of_the_service() -> None:
    scrape = yaml.safe_load((DEPLOY / "prometheus.yml").read_text(encoding="utf-8"))
    (job,) = scrape["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    command = started(DEPLOY / "systemd" / "chronotope-serve.service")
    assert (
        target == f"{command[command.index('--host') + 1]}:{command[command.index('--port') + 1]}"
    )
    assert "X-API-Key" in job["http_headers"]
    assert [DEPLOY / name for name in scrape["rule_files"]] == [DEPLOY / "prometheus-alerts.yml"]


def pod() -> dict[str, Any]:
    documents = yaml.safe_load((KUBERNETES / "chronotope.yaml").read_text(encoding="utf-8"))
    template: dict[str, Any] = documents["spec"]["template"]["spec"]
    return template


def test_the_pod_runs_the_programs_of_the_containers() -> None:
    containers = {container["name"]: container for container in pod()["containers"]}
    assert containers.keys() == set(OWN) - {"deploy"}
    for name, container in containers.items():
        command = [word.replace("$(", "${").replace(")", "}") for word in container["command"]]
        if name == "service":  # the only one that other pods reach; it requires a key
            command[command.index("--host") + 1] = "127.0.0.1"
            assert "--api-key-env" in command
        assert command == compose()["services"][name]["command"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert {
            volume.partition(":")[2] for volume in compose()["x-chronotope"]["volumes"]
        } <= mounts
    assert pod()["securityContext"]["runAsNonRoot"]


def test_the_manifests_are_complete_and_hold_no_secret() -> None:
    kustomization = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text(encoding="utf-8"))
    assert {KUBERNETES / name for name in kustomization["resources"]} == {
        path for path in KUBERNETES.glob("*.yaml") if path.name != "kustomization.yaml"
    }
    (secret,) = kustomization["secretGenerator"]
    assert {name for container in pod()["containers"] for name in secret_names(container)} == {
        secret["name"]
    }
    claims = {volume["persistentVolumeClaim"]["claimName"] for volume in pod()["volumes"][:1]}
    storage = yaml.safe_load((KUBERNETES / "storage.yaml").read_text(encoding="utf-8"))
    assert claims == {storage["metadata"]["name"]}


def secret_names(container: dict[str, Any]) -> list[str]:
    return [source["secretRef"]["name"] for source in container["envFrom"]]
