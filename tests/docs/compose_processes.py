"""The services of ``compose.yaml`` as processes: their own commands, environment and order.

In the place of the images: a Postgres server with the account of the environment file, an S3
server instead of MinIO, and this interpreter. ``/srv/chronotope`` is a folder, and each port is a
free one.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.postgres import USER, Postgres
from tests.s3 import S3, SECRET
from tests.serving.redis_server import free_port

PROJECT = Path(__file__).parents[2]
DEPLOY = PROJECT / "docs" / "deploy"
ROOT = "/srv/chronotope"
IMAGES = ("postgres", "store")
"""Services that come from images of others, and are not started."""

PATIENCE_S = 180
BACKOFF_S = 0.5


@dataclass
class Process:
    """A started service; it is started again when it ends, as its restart policy says."""

    command: list[str]
    env: dict[str, str]
    cwd: Path
    log: Path
    restarts: bool
    process: "subprocess.Popen[bytes] | None" = None
    n_starts: int = 0
    started_s: float = 0.0

    def tend(self) -> None:
        """Start it unless it runs."""
        is_over = self.process is None or (self.restarts and self.process.poll() is not None)
        backoff_s = BACKOFF_S * 2 ** min(self.n_starts, 4)  # as Docker, which doubles it
        if is_over and time.monotonic() > self.started_s + backoff_s:
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(  # noqa: S603 - commands of our compose file
                    self.command, env=self.env, cwd=self.cwd, stdout=log, stderr=log
                )
            self.n_starts, self.started_s = self.n_starts + 1, time.monotonic()

    def end(self) -> None:
        self.restarts = False
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(30)


@dataclass
class Deployment:
    """What ``docker compose up`` would run."""

    folder: Path
    root: Path
    env: dict[str, str]
    ports: dict[str, int]
    services: dict[str, Any]
    processes: dict[str, Process] = field(default_factory=dict)

    def start(self, name: str) -> Process:
        """Start a service with those that it depends on, which are waited for as it says."""
        if name in self.processes:
            return self.processes[name]
        service = self.services[name]
        depends_on = service.get("depends_on", {})
        for other in depends_on:
            if other in IMAGES:
                continue
            started = self.start(other)
            condition = depends_on[other] if isinstance(depends_on, dict) else {}
            if condition.get("condition") == "service_completed_successfully":
                self.run_to_the_end(started, other)
        process = self.processes[name] = Process(
            [self.filled(word) for word in self.words(service["command"])],
            self.env,
            self.root,
            self.folder / f"{name}.log",
            service["restart"] == "unless-stopped",
        )
        process.tend()
        return process

    def run(self, name: str) -> None:
        """Run a service that ends, as ``docker compose run`` does."""
        self.run_to_the_end(self.start(name), name)

    def run_to_the_end(self, started: Process, name: str) -> None:
        assert started.process is not None
        assert started.process.wait(PATIENCE_S) == 0, self.output(name)

    def wait(self, what: str, is_so: Callable[[], bool]) -> None:
        """Wait, and start again what has ended meanwhile."""
        until = time.monotonic() + PATIENCE_S
        while not is_so():
            assert time.monotonic() < until, "\n".join(
                [f"waited for {what}", *(self.output(name)[-3_000:] for name in self.processes)]
            )
            for process in self.processes.values():
                process.tend()
            time.sleep(0.2)

    def output(self, name: str) -> str:
        path = self.folder / f"{name}.log"
        return f"--- {name}\n" + (path.read_text(errors="replace") if path.exists() else "")

    def words(self, command: list[str]) -> list[str]:
        """The command of a container with the programs of this interpreter."""
        program, *rest = command
        if program == "chronotope":
            return [sys.executable, "-c", "from chronotope.cli.main import run; run()", *rest]
        assert program == "python"
        return [sys.executable, *rest]

    def filled(self, text: str) -> str:
        """A text with the variables of the environment file, this root and these ports."""
        text = re.sub(r"\$\{(\w+)\}", lambda found: self.env[found[1]], text)
        return with_places(text, self.root, self.ports)


def with_places(text: str, root: Path, ports: dict[str, int]) -> str:
    """A text with a folder instead of the root, and with other ports of this machine."""
    text = text.replace(ROOT, str(root))
    for port, free in ports.items():
        text = re.sub(rf"(127\.0\.0\.1:|localhost:|^){port}(?=\D|$)", rf"\g<1>{free}", text)
    return text


def filled_environment(
    root: Path, ports: dict[str, int], server: Postgres, s3: S3, dataset: str
) -> dict[str, str]:
    """The example of the environment file, with secrets in the place of CHANGE-ME."""
    env = {"PATH": os.environ["PATH"], "HOME": str(root), "LANG": "C.UTF-8"}
    env["PYTHONPATH"] = os.pathsep.join((str(PROJECT / "components"), str(PROJECT)))
    for line in (DEPLOY / "chronotope.env.example").read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        name, value = line.split("=", 1)
        secret = (
            server.password
            if "://" in value or "POSTGRES" in name
            else f"s3cret-of-variable-{len(name)}"
        )
        if "AWS" in name or "MINIO" in name:
            secret = SECRET
        elif "AUTH_STRING" in name:
            secret = "s3cret-of-prefect"  # noqa: S105 - of a server of the test
        env[name] = with_places(value.replace("CHANGE-ME", secret), root, ports)
    assert env["POSTGRES_USER"] == USER
    return env | {
        "CHRONOTOPE_DATASET": dataset,
        "NO_PROXY": "127.0.0.1",
        "PREFECT_WORKER_QUERY_SECONDS": "1",  # a test does not wait for ten
    }


@contextmanager
def deployment(folder: Path, server: Postgres, s3: S3, dataset: str) -> Iterator[Deployment]:
    """The files of the image below a folder, the databases, and no service yet."""
    root = folder / "srv"
    (root / "data").mkdir(parents=True)
    (root / "mlruns").mkdir()
    shutil.copytree(PROJECT / "expectations", root / "expectations")
    shutil.copy(PROJECT / "prefect.yaml", root)
    ports = {"5432": server.port, "9000": s3.port}
    ports |= {port: free_port() for port in ("4200", "5000", "8000")}
    accounts = (DEPLOY / "mlflow-accounts.ini").read_text(encoding="utf-8")
    (root / "mlflow-accounts.ini").write_text(with_places(accounts, root, ports), encoding="utf-8")
    with server.connected("postgres") as connection:
        for statement in (DEPLOY / "databases.sql").read_text(encoding="utf-8").splitlines():
            connection.execute(statement)
    env = filled_environment(root, ports, server, s3, dataset)
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]
    with ExitStack() as stack:
        started = Deployment(folder, root, env, ports, services)
        stack.callback(lambda: [process.end() for process in started.processes.values()])
        yield started
