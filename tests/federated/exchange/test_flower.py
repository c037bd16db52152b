"""The Flower app of the documentation: a real SuperLink and SuperNodes train the same network."""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from chronotope.contracts.event_log import EventLog
from chronotope.federated.aggregation import Aggregator
from chronotope.federated.clients.client_data import LOG_FILE, ClientFolder, save_log
from chronotope.federated.clients.orders import FederationSpec
from chronotope.federated.config import FederationConfig
from chronotope.federated.coordinator import Coordinator, FederatedModel
from chronotope.federated.counts.plan import TimeBins
from chronotope.federated.exchange.client_round import ExchangeClient
from chronotope.federated.exchange.client_service import serve_orders
from chronotope.federated.exchange.exchange_aggregator import open_exchange
from chronotope.models.config import ModelConfig
from chronotope.runtime.engine import EngineConfig
from chronotope.runtime.engine.client_pool import open_client_pool
from chronotope.testing.recommender_suite import sample_catalog, sample_log
from chronotope.training.config import TrainingConfig
from tests.federated.exchange.flower_environment import FLOWER_APP, flower_python

N_CLIENTS = 2
READY_S = 180.0


def specification(broadcast: Path, log: EventLog) -> FederationSpec:
    catalog, end_s = sample_catalog(), int(log.occurred_s.max()) + 1
    return FederationSpec(
        "sample",
        broadcast,
        TimeBins.covering(int(log.occurred_s.min()), end_s, catalog.n_items),
        ModelConfig(content=False, history_len=16, n_hidden=8),
        TrainingConfig(n_rounds=1, batch_size=64, discovery_targets=0),
        FederationConfig.model_validate({"rounds": 2, "aggregation": {"secure": False}}),
        N_CLIENTS,
    )


def federate_in_process(
    folder: Path, log: EventLog, clients: tuple[ClientFolder, ...]
) -> FederatedModel:
    spec = specification(folder, log)
    with open_client_pool(EngineConfig(), N_CLIENTS) as pool:
        return Coordinator(spec, sample_catalog(), Aggregator(spec, clients, pool)).run()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def process_group(
    command: list[str], environment: dict[str, str], log_path: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A process whose descendants are ended with it; its output is in a file."""
    with (
        log_path.open("wb") as log_file,
        subprocess.Popen(  # noqa: S603 - our own command
            command,
            env=environment,
            stdout=log_file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10.0)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def wait_for_text(log_path: Path, text: str, n_times: int = 1) -> None:
    """Wait until a program has written a text."""
    deadline_s = time.monotonic() + READY_S
    while not log_path.exists() or log_path.read_text("utf-8", "replace").count(text) < n_times:
        assert time.monotonic() < deadline_s, log_path.read_text("utf-8", "replace")[-2_000:]
        time.sleep(0.1)


@contextmanager
def flower_federation(python: Path, folders: list[Path], folder: Path) -> Iterator[dict[str, str]]:
    """A SuperLink and a SuperNode for each client; environment of Flower's commands."""
    programs, port = python.parent, free_port()
    environment = {
        **{name: text for name, text in os.environ.items() if not name.startswith("PYTHON")},
        "PATH": f"{programs}:{os.environ['PATH']}",
        "FLWR_HOME": str(folder / "home"),
        "FLWR_TELEMETRY_ENABLED": "0",
    }
    (folder / "home").mkdir()
    connection = f'[superlink]\ndefault = "test"\n[superlink.test]\naddress = "127.0.0.1:{port}"\n'
    (folder / "home/config.toml").write_text(f"{connection}insecure = true\n", encoding="utf-8")
    link_log = folder / "superlink.log"
    link = [str(programs / "flower-superlink"), "--insecure", "--port", str(port),
            "--disable-runtime-dependency-installation"]  # fmt: skip
    with ExitStack() as stack:
        stack.enter_context(process_group(link, environment, link_log))
        wait_for_text(link_log, "Uvicorn running")
        for exchange in folders:
            node = [str(programs / "flower-supernode"), "--insecure",
                    "--superlink", f"127.0.0.1:{port}", "--port", str(free_port()),
                    "--node-config", f'exchange="{exchange}"']  # fmt: skip
            node_log = folder / f"{exchange.name}.log"
            stack.enter_context(process_group(node, environment, node_log))
        wait_for_text(link_log, "Activated node_id", len(folders))
        yield environment


@pytest.mark.slow
def test_flower_trains_the_network_of_clients_in_the_process(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    python, log = flower_python(pytestconfig), sample_log()
    clients = tuple(ClientFolder(n, f"client {n}", tmp_path / str(n)) for n in range(N_CLIENTS))
    for client in clients:
        own = log.take(log.user_idx % N_CLIENTS == client.client_number)
        save_log(own, client.state("sample") / LOG_FILE)
    expected = federate_in_process(tmp_path / "plain", log, clients)
    folders = [tmp_path / f"exchange-{client.client_number}" for client in clients]
    for client, folder in zip(clients, folders, strict=True):
        arguments = (ExchangeClient(client.root, "sample"), folder, {"answered": 0, "failed": 0})
        threading.Thread(
            target=serve_orders, args=arguments, kwargs={"idle_s": 300.0}, daemon=True
        ).start()
    spec, run_log = specification(tmp_path / "run", log), tmp_path / "flwr.log"
    with flower_federation(python, folders, tmp_path) as environment:
        run = [str(python.parent / "flwr"), "run", str(FLOWER_APP), "test", "--stream",
               "--run-config", f'exchange="{tmp_path / "coordinator"}"']  # fmt: skip
        with process_group(run, environment, run_log) as process:
            with open_exchange(spec, tmp_path / "coordinator") as aggregator:
                model = Coordinator(spec, sample_catalog(), aggregator).run()
                strategy = aggregator.strategy
            process.wait(timeout=READY_S)
    assert process.returncode == 0, run_log.read_text("utf-8")[-2_000:]
    assert strategy.startswith("FedAvg of Flower 1.")
    assert [record.n_answers for record in model.rounds] == [N_CLIENTS] * len(expected.rounds)
    parameters = [
        np.concatenate([p.detach().numpy().ravel() for p in of.shared_net.parameters()])
        for of in (expected, model)
    ]
    assert np.abs(parameters[0] - parameters[1]).max() < 1e-6
    assert (expected.priors.popularity == model.priors.popularity).all()
