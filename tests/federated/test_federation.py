"""Federations of clients in one process: sums, drop-outs, poison, quorum, resuming."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from chronotope.contracts.errors import ConfigError, EngineError, NotEnoughData
from chronotope.contracts.event_log import EventLog
from chronotope.federated.aggregation import (
    IMPLAUSIBLE,
    Aggregator,
    Answers,
    aggregated_update,
    summed_counts,
    trimmed_mean,
)
from chronotope.federated.clients.client_data import LOG_FILE, ClientFolder, save_log
from chronotope.federated.clients.orders import FederationSpec
from chronotope.federated.clients.protocol_calls import SECRETS_FILE
from chronotope.federated.config import AggregationConfig, FederationConfig
from chronotope.federated.coordinator import Coordinator, FederatedModel
from chronotope.federated.counts.plan import TimeBins
from chronotope.federated.splits import split_users
from chronotope.models.config import ModelConfig
from chronotope.runtime.engine import EngineConfig
from chronotope.runtime.engine.client_pool import open_client_pool
from chronotope.testing.recommender_suite import sample_catalog, sample_log
from chronotope.training.config import TrainingConfig

N_CLIENTS = 4
PLAIN = {"aggregation": {"secure": False}}


@pytest.fixture(scope="module")
def log() -> EventLog:
    return sample_log()


def federate(folder: Path, log: EventLog, **federation: object) -> FederatedModel:
    """One round over clients with every fourth user."""
    catalog, end_s = sample_catalog(), int(log.occurred_s.max()) + 1
    clients = tuple(ClientFolder(n, f"client {n}", folder / str(n)) for n in range(N_CLIENTS))
    for client in clients:
        own = log.take(log.user_idx % N_CLIENTS == client.client_number)
        save_log(own, client.state("sample") / LOG_FILE)
    spec = FederationSpec(
        "sample",
        folder / "run",
        TimeBins.covering(int(log.occurred_s.min()), end_s, catalog.n_items),
        ModelConfig(content=False, history_len=16, n_hidden=8),
        TrainingConfig(n_rounds=2, batch_size=64, discovery_targets=0),
        FederationConfig.model_validate({"rounds": 1, **federation}),
        N_CLIENTS,
    )
    with open_client_pool(EngineConfig(), N_CLIENTS) as pool:
        return Coordinator(spec, catalog, Aggregator(spec, clients, pool)).run()


def parameters(model: FederatedModel) -> np.ndarray:
    return np.concatenate([p.detach().numpy().ravel() for p in model.shared_net.parameters()])


def test_a_secure_sum_trains_the_same_network(log: EventLog, tmp_path: Path) -> None:
    plain = federate(tmp_path / "plain", log, **PLAIN)
    secure = federate(tmp_path / "secure", log)
    assert np.abs(parameters(plain) - parameters(secure)).max() < 1e-5
    assert (plain.priors.popularity == secure.priors.popularity).all()
    assert all(record.n_answers == N_CLIENTS for record in secure.rounds)
    losses = [record.later_loss for record in secure.rounds if record.later_loss is not None]
    assert losses[1] < losses[0]
    state = ClientFolder(0, "client 0", tmp_path / "secure" / "0").state("sample")
    modes = [(state / name).stat().st_mode & 0o077 for name in (SECRETS_FILE, LOG_FILE)]
    assert modes == [0, 0]  # readable by their owner only


def test_clients_that_drop_out_after_sharing_are_left_out(log: EventLog, tmp_path: Path) -> None:
    model = federate(tmp_path, log, faults={"drop_share": 0.25})
    assert {record.n_answers for record in model.rounds} == {3}
    assert model.rounds[0].failures == {"SimulatedDropError: A simulated drop-out": 1}
    total = float(np.expm1(model.priors.popularity.numpy()).sum())
    assert total == pytest.approx(len(log), rel=0.5)
    assert total < len(log)


def test_a_run_without_a_quorum_stops_and_continues_later(log: EventLog, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"Too few clients answered.*2 of 4, needed 3"):
        federate(tmp_path, log, faults={"drop_share": 0.5})
    assert len(federate(tmp_path, log).rounds) > 5


def test_late_clients_are_left_out(log: EventLog, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="client 0: late"):
        federate(tmp_path, log, timeout_s=1e-6, **PLAIN)


def answers(updates: list[list[float]]) -> Answers:
    """Answers with a weight of 2, a loss of 1 and one later target each."""
    rows = [np.array([2.0 * value for value in row] + [2.0, 1.0, 1.0]) for row in updates]
    return Answers(client_vectors=dict(enumerate(rows)))


@pytest.mark.parametrize("rule", ["trimmed_mean", "median"])
def test_robust_rules_withstand_poisoned_updates(rule: str) -> None:
    config = AggregationConfig(secure=False, rule=rule, trim_share=0.25)
    given = answers([[1.0], [1.2], [0.8], [1.0], [-1e6]])
    assert aggregated_update(given, config).parameter_update[0] == pytest.approx(1.0, abs=0.1)
    mean = aggregated_update(given, AggregationConfig(secure=False))
    assert mean.parameter_update[0] < -1e5


def test_a_trimmed_mean_weighs_clients_by_their_targets_within_bounds() -> None:
    updates = np.array([[-9.0], [1.0], [2.0], [9.0]])
    mean = trimmed_mean(updates, np.array([1.0, 1.0, 9.0, 1.0]), 0.25)
    assert mean == pytest.approx([(1.0 + 4.0 * 2.0) / 5.0])  # 9 claimed, at most 4 medians


def test_clients_are_asked_for_their_counts_again(log: EventLog, tmp_path: Path) -> None:
    model = federate(tmp_path, log, faults={"drop_share": 0.25}, **PLAIN)
    by_name = {record.name: record.n_answers for record in model.rounds}
    assert by_name["counts bins"] == N_CLIENTS
    assert by_name["train round 0"] == N_CLIENTS - 1


def test_updates_are_bounded_by_their_norm() -> None:
    config = AggregationConfig(secure=False, update_norm=1.0)
    update = aggregated_update(answers([[3.0, 4.0], [0.0, 0.0]]), config).parameter_update
    assert update == pytest.approx([0.3, 0.4])


def test_counts_of_a_client_are_bounded_where_rules_are_robust() -> None:
    given = Answers(client_vectors={n: np.array([1.0, 0.0]) for n in range(4)})
    given.client_vectors[4] = np.array([0.0, 1e9])
    robust = summed_counts(given, AggregationConfig(secure=False, rule="median"))
    assert robust.tolist() == [4.0, 4.0]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rule": "median"}, "secure aggregation hides"),
        ({"noise_multiplier": 1.0}, "set aggregation.update_norm"),
        ({"noise_multiplier": 1.0, "update_norm": 1.0, "secure": False, "rule": "median"},
         "accounted for a mean"),
    ],
    ids=["secure and robust", "noise without a bound", "noise and robust"],
)  # fmt: skip
def test_contradictory_settings_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        AggregationConfig.model_validate(fields)


@pytest.mark.parametrize("kind", ["random", "place", "taste", "activity"])
def test_every_user_has_one_client(log: EventLog, kind: str) -> None:
    clients = split_users(log, sample_catalog(), kind, N_CLIENTS)
    users = np.unique(log.user_idx[log.user_idx > 0])
    assert set(clients[users]) == set(range(N_CLIENTS))
    assert (clients[0], (clients[users] < 0).any()) == (-1, False)


def test_divisions_that_are_not_possible_are_refused(log: EventLog) -> None:
    with pytest.raises(ConfigError, match=r"Received: galaxy.*random, place"):
        split_users(log, sample_catalog(), "galaxy", N_CLIENTS)
    with pytest.raises(NotEnoughData, match="fewer users than clients"):
        split_users(log, sample_catalog(), "random", 10_000)


def test_a_client_with_contradictory_counts_is_asked_no_more(log: EventLog, tmp_path: Path) -> None:
    faults = {"poison_share": 0.25}
    robust = {"aggregation": {"secure": False, "rule": "trimmed_mean"}, "faults": faults}
    model = federate(tmp_path / "excluded", log, **robust)
    assert model.rounds[0].failures == {IMPLAUSIBLE: 1}
    (poisoned,) = model.rounds[0].implausible_clients
    assert all(poisoned not in record.client_numbers for record in model.rounds)
    assert {record.n_answers for record in model.rounds} == {N_CLIENTS - 1}
    sections = tmp_path / "excluded" / "run" / "sections"
    (sections / "bins.npz").unlink()  # killed after the exclusion, before the file
    for name in ("plan.npz", "counts.npz"):
        (tmp_path / "excluded" / "run" / name).unlink()
    again = federate(tmp_path / "excluded", log, **robust)
    assert (parameters(again) == parameters(model)).all()

    faults["poison_counts"] = False
    model = federate(tmp_path / "updates", log, **robust)
    assert {record.n_answers for record in model.rounds} == {N_CLIENTS}
