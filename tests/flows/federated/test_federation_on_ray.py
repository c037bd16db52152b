"""The flow over clients that are actors on two nodes; one node is lost in the middle of a round."""

from pathlib import Path
from threading import Timer
from unittest.mock import patch

import numpy as np
import pytest

from chronotope.federated.aggregation import Aggregator
from chronotope.pipelines.federated.steps import FEDERATION_FOLDER, federate
from chronotope.runtime.engine.client_pool import RayPool
from chronotope.runtime.stored_arrays import load_arrays
from flows import without_heartbeat
from flows.federated.federated_train import federated_train
from flows.ingest_events import IngestSettings
from tests.flows.federated.test_federated_train import CITY, settings
from tests.runtime.engine.cluster import two_nodes


def final_network(run_dir: Path) -> np.ndarray:
    return load_arrays(run_dir / FEDERATION_FOLDER / "parameters" / "final.npz")["network"]


@pytest.mark.slow
def test_a_federation_on_a_cluster_outlives_a_node(prefect: None, tmp_path: Path) -> None:
    dataset, root = tmp_path / "east.yaml", tmp_path / "root"
    dataset.write_text(CITY, encoding="utf-8")
    pools: list[RayPool] = []
    ask, start = Aggregator.ask, RayPool.__init__
    with two_nodes() as (cluster, victim):

        def starting(self: RayPool, *arguments: object) -> None:
            start(self, *arguments)
            pools.append(self)

        def asking(self: Aggregator, client_order) -> object:
            if client_order.name == "train round 1":
                assert len(pools[0]._actors) == 2  # one on each node
                Timer(0.1, cluster.remove_node, (victim,), {"allow_graceful": False}).start()
            return ask(self, client_order)

        patches = (
            patch.object(Aggregator, "ask", asking),
            patch.object(RayPool, "__init__", starting),
        )
        on_ray = settings(root, federation={"rounds": 3, "max_pair_items": 30})
        engine = {"kind": "ray", "address": cluster.address}
        training = on_ray.training.model_dump() | {"engine": engine}
        on_ray = type(on_ray).model_validate(on_ray.model_dump() | {"training": training})
        with patches[0], patches[1], without_heartbeat():
            result = federated_train(str(dataset), on_ray, IngestSettings(data_docs=False))
    assert len(pools[0]._actors) == 1
    rounds = result.federation.rounds
    assert [r.n_answers for r in rounds] == [4] * len(rounds)  # nobody was left out
    assert result.promotion.version

    run_dir = result.federation.model.parent
    network = final_network(run_dir)
    (run_dir / FEDERATION_FOLDER).rename(run_dir / "on two nodes")
    here = settings(root, federation={"rounds": 3, "max_pair_items": 30})
    summary = federate(result.ingestion.features.path, here, run_dir)
    assert [r.name for r in summary.rounds] == [r.name for r in rounds]
    assert np.abs(final_network(run_dir) - network).max() < 1e-4  # the masks' rounding
