"""The flow over a tiny city: resumed after a kill; clients may have lakes of their own."""

from pathlib import Path
from unittest.mock import patch

import pytest

from chronotope.federated.aggregation import Aggregator
from chronotope.lake import Lake
from chronotope.pipelines.federated.settings import FederatedSettings
from chronotope.registry.mlflow_store import open_store
from flows import without_heartbeat
from flows.federated.federated_train import federated_train
from flows.ingest_events import IngestSettings

CITY = """
name: east
description: A small city.
licence: CC0-1.0
event_type: check_in
items_are_places: true
city: {n_events: 2000, n_users: 40, n_items: 30, days: 60, seed: 1}
"""


def settings(root: Path, **fields: object) -> FederatedSettings:
    training = {"n_rounds": 2, "batch_size": 64, "max_targets": 400, "discovery_targets": 0}
    return FederatedSettings.model_validate(
        {
            "training": {
                "root": root,
                "model": {"history_len": 16},
                "training": training,
                "max_fold_targets": 100,
                "max_holdout_targets": 200,
                "compression": {
                    "n_runs": 10,
                    "max_latency_ms": 10_000,
                    "variants": ["int8_tables"],
                },
            },
            "federation": {"rounds": 2, "max_pair_items": 30},
            "n_clients": 4,
            **fields,
        }
    )


class Killed(BaseException):
    """Ends a run as a kill would."""


@pytest.mark.slow
def test_a_killed_federation_continues_and_clients_may_have_lakes_of_their_own(
    prefect: None, tmp_path: Path
) -> None:
    dataset, root, ingestion = tmp_path / "east.yaml", tmp_path / "root", {"data_docs": False}
    dataset.write_text(CITY, encoding="utf-8")
    asked, ask = [], Aggregator.ask

    def asking(self: Aggregator, client_order) -> object:
        asked.append(client_order.name)
        if client_order.name == "train round 1" and asked.count(client_order.name) == 1:
            raise Killed
        return ask(self, client_order)

    with patch.object(Aggregator, "ask", asking), without_heartbeat():
        with pytest.raises(Killed):
            federated_train(str(dataset), settings(root), IngestSettings(**ingestion))
        first = federated_train(str(dataset), settings(root), IngestSettings(**ingestion))
    assert [name for name in set(asked) if asked.count(name) > 1] == ["train round 1"]
    assert first.federation.n_clients == 4
    store = open_store(root / "mlruns")
    version = store.client.get_model_version("east", first.promotion.version)
    assert version.tags["federated_aggregation"] == "FedAvg, secure aggregation"
    assert "4 simulated clients" in first.report.card.read_text()
    assert "no client sent rows" in first.report.card.read_text()

    run_dir = first.federation.model.parent
    lakes = [
        Lake(file_path / "data" / "lake" / "east") for file_path in (run_dir / "clients").iterdir()
    ]
    users = [set(lake.read("events")["user_id"].to_pylist()) for lake in lakes]
    assert sum(map(len, users)) == len(set.union(*users))  # a user is at one client only

    roots = tuple(sorted((run_dir / "clients").iterdir()))
    named = settings(root, clients=roots)
    with without_heartbeat():
        second = federated_train(str(dataset), named, IngestSettings(**ingestion))
    assert not second.federation.is_simulated
    losses = [
        [round_record.later_loss for round_record in of.federation.rounds] for of in (first, second)
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)  # the same clients, the same sums
