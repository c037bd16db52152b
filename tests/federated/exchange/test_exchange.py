"""Federations whose clients are asked by another program: same sums, nothing but arrays."""

from pathlib import Path

import numpy as np
import pytest

from chronotope.contracts.errors import EngineError, SourceError, StoreError
from chronotope.contracts.event_log import EventLog
from chronotope.federated.aggregation import Aggregator, Answers
from chronotope.federated.clients.client_data import LOG_FILE, ClientFolder, save_log
from chronotope.federated.clients.orders import FederationSpec, Order
from chronotope.federated.config import FederationConfig
from chronotope.federated.coordinator import Coordinator, FederatedModel
from chronotope.federated.counts.plan import TimeBins
from chronotope.federated.exchange.client_round import ExchangeClient
from chronotope.federated.exchange.client_service import serve_orders
from chronotope.federated.exchange.exchange_aggregator import ExchangeAggregator, open_exchange
from chronotope.federated.exchange.message_folder import Message, MessageFolder
from chronotope.federated.exchange.order_messages import AVERAGED, FAILURE, FIXED, ORDER
from chronotope.models.config import ModelConfig
from chronotope.runtime.engine import EngineConfig
from chronotope.runtime.engine.client_pool import open_client_pool
from chronotope.testing.recommender_suite import sample_catalog, sample_log
from chronotope.training.config import TrainingConfig
from tests.federated.exchange.transport import Transport, transport

N_CLIENTS = 3


@pytest.fixture(scope="module")
def log() -> EventLog:
    return sample_log()


def specification(broadcast: Path, log: EventLog, **federation: object) -> FederationSpec:
    end_s = int(log.occurred_s.max()) + 1
    plain = {"rounds": 2, "discovery_rounds": 1, "aggregation": {"secure": False}}
    return FederationSpec(
        "sample",
        broadcast,
        TimeBins.covering(int(log.occurred_s.min()), end_s, sample_catalog().n_items),
        ModelConfig(content=False, history_len=16, n_hidden=8),
        TrainingConfig(n_rounds=2, batch_size=64, discovery_targets=300),
        FederationConfig.model_validate({**plain, **federation}),
        N_CLIENTS,
    )


def client_folders(folder: Path, log: EventLog) -> list[ClientFolder]:
    """Clients with every third user."""
    clients = [ClientFolder(n, f"client {n}", folder / str(n)) for n in range(N_CLIENTS)]
    for client in clients:
        own = log.take(log.user_idx % N_CLIENTS == client.client_number)
        save_log(own, client.state("sample") / LOG_FILE)
    return clients


def federate_by_exchange(
    folder: Path, log: EventLog, clients: list[ExchangeClient], **federation: object
) -> tuple[FederatedModel, Transport]:
    spec = specification(folder / "run", log, **federation)
    with (
        transport(folder / "exchange", clients) as running,
        open_exchange(spec, folder / "exchange") as aggregator,
    ):
        model = Coordinator(spec, sample_catalog(), aggregator).run()
    return model, running


@pytest.fixture(scope="module")
def both(
    log: EventLog, tmp_path_factory: pytest.TempPathFactory
) -> tuple[FederatedModel, FederatedModel, Transport]:
    """One federation in this process, the other through messages."""
    folder = tmp_path_factory.mktemp("exchange")
    clients = client_folders(folder / "clients", log)
    spec = specification(folder / "plain", log)
    with open_client_pool(EngineConfig(), N_CLIENTS) as pool:
        aggregator = Aggregator(spec, tuple(clients), pool)
        plain = Coordinator(spec, sample_catalog(), aggregator).run()
    named = [ExchangeClient(client.root, "sample") for client in clients]
    return plain, *federate_by_exchange(folder, log, named)


def test_messages_train_the_network_of_clients_in_the_process(
    both: tuple[FederatedModel, FederatedModel, Transport],
) -> None:
    plain, exchanged, running = both
    parameters = [
        np.concatenate([p.detach().numpy().ravel() for p in model.shared_net.parameters()])
        for model in (plain, exchanged)
    ]
    assert np.abs(parameters[0] - parameters[1]).max() < 1e-6
    assert (plain.priors.popularity == exchanged.priors.popularity).all()
    losses = [[record.later_loss for record in model.rounds] for model in (plain, exchanged)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    assert running.ending == ""


def test_orders_hold_named_parameters_and_no_rows(
    both: tuple[FederatedModel, FederatedModel, Transport],
) -> None:
    orders = both[2].orders
    rounds = [order for order in orders if '"kind":"train"' in order.texts[ORDER]]
    names = {name for order in rounds for name in order.arrays}
    assert {name.split("/")[0] for name in names} == {"averaged", "fixed", "files"}
    assert any(name.startswith(f"{FIXED}discovery_head.") for name in names)
    assert any(name.startswith(f"{AVERAGED}discovery_head.") for name in names)
    assert all(array.dtype.kind in "fu" for order in orders for array in order.arrays.values())


def test_a_client_that_fails_is_left_out_and_says_no_more_than_why(
    log: EventLog, tmp_path: Path
) -> None:
    clients = client_folders(tmp_path / "clients", log)
    named = [ExchangeClient(client.root, "sample") for client in clients[:2]]
    named.append(ExchangeClient(tmp_path / "nowhere", "sample"))
    model, _ = federate_by_exchange(tmp_path, log, named, rounds=1, discovery_rounds=0)
    assert {record.n_answers for record in model.rounds} == {2}
    assert model.rounds[0].failures == {"SourceError: A client has no lake of the dataset": 1}


def test_too_few_answers_stop_the_federation_and_the_transport(
    log: EventLog, tmp_path: Path
) -> None:
    nowhere = [ExchangeClient(tmp_path / str(n), "sample") for n in range(N_CLIENTS)]
    spec = specification(tmp_path / "run", log)
    with (
        transport(tmp_path / "exchange", nowhere) as running,
        pytest.raises(EngineError, match=r"0 of 3, needed 2.*client 0: SourceError"),
        open_exchange(spec, tmp_path / "exchange") as aggregator,
    ):
        Coordinator(spec, sample_catalog(), aggregator).run()
    assert running.ending == "EngineError"


def test_an_order_that_nobody_takes_is_an_error_and_leaves_nothing(
    log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chronotope.federated.exchange.exchange_aggregator._END_S", 0.1)
    spec = specification(tmp_path / "run", log, timeout_s=0.2)
    with (
        pytest.raises(EngineError, match="Nobody takes the orders"),
        open_exchange(spec, tmp_path / "exchange") as aggregator,
    ):
        Coordinator(spec, sample_catalog(), aggregator).run()
    assert list((tmp_path / "exchange").rglob("*.safetensors")) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"texts": {ORDER: "{}"}}, "SourceError: A request is no order of a federation"),
        ({"dataset": "other"}, "SourceError: An order is for another dataset"),
        ({"arrays": None}, "SourceError: Parameters of a round do not fit the network"),
        ({"nan": True}, "SourceError: Parameters of a round do not fit the network"),
    ],
    ids=["no order", "other dataset", "missing parameters", "not finite"],
)
def test_a_client_refuses_what_is_no_order_for_it(
    both: tuple[FederatedModel, FederatedModel, Transport],
    tmp_path: Path,
    change: dict[str, object],
    message: str,
) -> None:
    order = next(o for o in both[2].orders if '"kind":"train"' in o.texts[ORDER])
    texts, arrays = dict(order.texts), dict(order.arrays)
    if "texts" in change:
        texts = {ORDER: "{}"}
    if "arrays" in change:
        arrays = {name: a for name, a in arrays.items() if not name.startswith(AVERAGED)}
    if "nan" in change:
        name = next(name for name in arrays if name.startswith(AVERAGED))
        arrays[name] = np.full_like(arrays[name], np.nan)
    client = ExchangeClient(tmp_path, str(change.get("dataset", "sample")))
    answer = client.respond(Message(texts, arrays))
    assert (answer.texts, answer.arrays) == ({FAILURE: message}, {})


def test_a_service_counts_its_answers_and_ends_when_it_is_idle(tmp_path: Path) -> None:
    folder, n_orders = MessageFolder(tmp_path / "exchange"), {"answered": 0, "failed": 0}
    (tmp_path / "exchange/answers/old.safetensors").touch()
    (tmp_path / "exchange/requests/damaged.safetensors").write_bytes(b"no arrays")
    folder._post(Message({ORDER: "{}"}))
    serve_orders(ExchangeClient(tmp_path, "sample"), folder.folder, n_orders, idle_s=0.2)
    assert n_orders == {"answered": 0, "failed": 1}
    (answer,) = (tmp_path / "exchange/answers").iterdir()
    assert answer.name != "old.safetensors"
    assert list((tmp_path / "exchange/requests").iterdir()) == []
    assert (tmp_path / "exchange").stat().st_mode & 0o077 == 0


def test_a_damaged_message_is_reported(tmp_path: Path) -> None:
    folder = MessageFolder(tmp_path)
    (tmp_path / "requests/damaged.safetensors").write_bytes(b"no arrays")
    with pytest.raises(StoreError, match="A message of the federation is damaged"):
        folder.take()


def test_a_client_without_a_lake_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="has no lake"):
        ExchangeClient(tmp_path, "sample").n_events()


def test_a_killed_coordinator_continues_with_the_transport_that_waits_for_it(
    log: EventLog, tmp_path: Path
) -> None:
    clients = [
        ExchangeClient(client.root, "sample")
        for client in client_folders(tmp_path / "clients", log)
    ]
    spec, exchange = specification(tmp_path / "run", log, discovery_rounds=0), tmp_path / "exchange"

    class Killed(BaseException):
        """Ends a coordinator without a last message."""

    class KilledAggregator(ExchangeAggregator):
        def ask(self, client_order: Order) -> Answers:
            if client_order.name == "train round 1":
                raise Killed
            return super().ask(client_order)

    with transport(exchange, clients) as running:
        killed = Coordinator(
            spec, sample_catalog(), KilledAggregator(spec, MessageFolder(exchange))
        )
        with pytest.raises(Killed):
            killed.run()
        n_before = len(running.orders)
        with open_exchange(spec, exchange) as aggregator:
            model = Coordinator(spec, sample_catalog(), aggregator).run()
    assert n_before >= 4
    assert len(model.rounds) == len(running.orders)  # no order was given twice
    assert running.ending == ""
