"""Helpers on the nodes of a cluster train as one process does, also after a node was lost."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chronotope.contracts.errors import ConfigError
from chronotope.runtime.engine import EngineConfig
from chronotope.testing.recommender_suite import sample_catalog, sample_log
from chronotope.training import ddp
from chronotope.training.recommender import ChronotopeRecommender
from tests.runtime.engine.cluster import SHAPE, two_nodes
from tests.training.test_ddp import MODEL, TRAINING, Noting

pytestmark = pytest.mark.slow
N_EPOCHS = 4


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        # a busy machine that trains must not look like a lost node
        patch.setenv("RAY_health_check_failure_threshold", "20")
        patch.setenv("RAY_worker_niceness", "0")  # others would take all of the processor
        with two_nodes() as (cluster, _):
            yield cluster


def trained(engine: EngineConfig, n_processes: int, folder: Path) -> tuple[np.ndarray, list[float]]:
    told = {"n_processes": n_processes, "max_epochs": N_EPOCHS, "patience": N_EPOCHS}
    training, tracker = TRAINING.model_copy(update=told), Noting()
    model = ChronotopeRecommender(
        MODEL, training, checkpoint_dir=folder, tracker=tracker, engine=engine
    )
    net = model.fit(sample_log(), sample_catalog()).net
    weights = np.concatenate([p.detach().numpy().ravel() for p in net.parameters()])
    return weights, tracker.losses


def test_a_node_lost_in_an_epoch_changes_nothing(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, losses_alone = trained(EngineConfig(), 1, tmp_path / "alone")
    engine = EngineConfig(kind="ray", address=cluster.address)

    n_members: list[int] = []
    opened = ddp.open_ray_group

    def noted(config: EngineConfig, n: int, *, fewer: bool) -> Any:
        n_members.append(n)
        return opened(config, n, fewer=fewer)

    monkeypatch.setattr(ddp, "open_ray_group", noted)
    together, losses = trained(engine, 3, tmp_path / "together")
    np.testing.assert_allclose(together, alone, atol=1e-4)
    assert losses == pytest.approx(losses_alone, abs=1e-4)
    assert n_members == [2]

    victim, disturbed = cluster.add_node(**SHAPE), tmp_path / "disturbed"
    killer = threading.Thread(target=remove_after_epoch, args=(cluster, victim, disturbed))
    killer.start()
    after_loss, losses = trained(engine, 4, disturbed)
    killer.join()
    np.testing.assert_allclose(after_loss, alone, atol=1e-4)
    assert losses == pytest.approx(losses_alone, abs=1e-4)
    assert n_members == [2, 3, 3]


def remove_after_epoch(cluster: Any, victim: Any, folder: Path) -> None:
    """Kill a node as soon as an epoch has ended."""
    while not (folder / "last.ckpt").exists():
        time.sleep(0.01)
    cluster.remove_node(victim, allow_graceful=False)


def test_a_cluster_that_is_too_small_is_named(cluster: Any, tmp_path: Path) -> None:
    engine = EngineConfig(kind="ray", address=cluster.address)
    with pytest.raises(ConfigError, match="too few processors"):
        trained(engine, 9, tmp_path)
