"""The product's own model keeps the suite's promises, and learns what can be learned."""

from pathlib import Path

import numpy as np
import pytest
from scipy.special import log_softmax

from chronotope.contracts.errors import ChronotopeError, NotEnoughData
from chronotope.contracts.event_log import EventLog
from chronotope.contracts.protocols import Recommender, Tracker
from chronotope.contracts.queries import queries_at
from chronotope.models.config import BackboneKind, ModelConfig
from chronotope.testing.recommender_suite import (
    RecommenderSuite,
    sample_catalog,
    sample_log,
)
from chronotope.training.config import TrainingConfig
from chronotope.training.recommender import ChronotopeRecommender


def small(backbone: BackboneKind = "none", folder: Path | None = None) -> ChronotopeRecommender:
    return ChronotopeRecommender(
        ModelConfig(history_len=16, backbone=backbone, backbone_len=4, d_model=8),
        TrainingConfig(max_epochs=1, n_rounds=2, batch_size=64),
        checkpoint_dir=folder,
    )


class TestKernels(RecommenderSuite):
    def model(self) -> Recommender:
        return small()


class TestGru(RecommenderSuite):
    def model(self) -> Recommender:
        return small("gru")


class TestTransformer(RecommenderSuite):
    def model(self) -> Recommender:
        return small("transformer")


def test_asking_before_training_is_a_clear_error() -> None:
    with pytest.raises(ChronotopeError, match="not trained"):
        _ = small().net


def test_a_log_without_repeats_leaves_the_repeat_head_as_it_was() -> None:
    log, n_items = sample_log(), sample_catalog().n_items
    _, first = np.unique(log.user_idx.astype(np.int64) * n_items + log.item_idx, return_index=True)
    recommender = small().fit(log.take(np.sort(first)), sample_catalog())
    assert recommender.model.repeat_kernels is False
    fresh = small().fit(log.take(np.sort(first)), sample_catalog())
    assert not recommender.net.repeat_head.mix_out.weight.any()  # zero at first
    for one, other in zip(recommender.net.parameters(), fresh.net.parameters(), strict=True):
        np.testing.assert_array_equal(one.detach().numpy(), other.detach().numpy())


def test_one_event_a_user_is_not_enough() -> None:
    log = EventLog.sorted(user_idx=[1, 2, 3], item_idx=[1, 2, 3], occurred_s=[1, 2, 3])
    with pytest.raises(NotEnoughData, match="3 events, 3 users"):
        small().fit(log, sample_catalog())


def test_a_finished_training_resumes_from_its_checkpoint(tmp_path: Path) -> None:
    first = small(folder=tmp_path).fit(sample_log(), sample_catalog())
    stamp = (tmp_path / "last.ckpt").stat().st_mtime_ns
    again = small(folder=tmp_path).fit(sample_log(), sample_catalog())
    assert (tmp_path / "last.ckpt").stat().st_mtime_ns == stamp
    for one, other in zip(first.net.parameters(), again.net.parameters(), strict=True):
        np.testing.assert_array_equal(one.detach().numpy(), other.detach().numpy())


def weights(model: ChronotopeRecommender) -> np.ndarray:
    return np.concatenate([p.detach().numpy().ravel() for p in model.net.parameters()])


def test_an_update_learns_from_new_events_alone() -> None:
    log = sample_log()
    middle = int(np.quantile(log.occurred_s, 0.6))
    model = small().fit(log.before(middle), sample_catalog())
    before = weights(model)
    model.update(log.before(middle))
    np.testing.assert_array_equal(weights(model), before)
    model.update(log)
    assert 0 < np.abs(weights(model) - before).max() < 0.1
    assert model.priors.popularity.exp().sum() - 16 == pytest.approx(len(log), rel=1e-5)


def log_likelihood(model: ChronotopeRecommender, log: EventLog, since_s: int) -> float:
    """Mean log-probability of the true items from an instant on."""
    at = np.flatnonzero(log.occurred_s >= since_s)
    scores = model.scores(queries_at(log, at, history_len=16, time_given=True))[:, 1:]
    told = log_softmax(scores, axis=1)
    return float(told[np.arange(len(at)), log.item_idx[at] - 1].mean())


def test_an_updated_model_follows_a_change_of_behaviour() -> None:
    """For twenty days everybody stays with one item; then nobody takes one twice in a row."""
    rng = np.random.default_rng(0)
    faithful = np.repeat(rng.integers(1, 16, (20, 1)), 20, axis=1)
    fickle = (faithful[:, -1:] + rng.integers(1, 15, (20, 40)).cumsum(1) - 1) % 15 + 1
    log = EventLog.sorted(
        user_idx=np.repeat(np.arange(1, 21), 60),
        item_idx=np.hstack([faithful, fickle]).ravel(),
        occurred_s=np.tile(np.arange(60) * 86_400, 20),
    )
    model = small().fit(log.before(20 * 86_400), sample_catalog())
    model.observe(log.before(50 * 86_400))
    frozen = log_likelihood(model, log, 50 * 86_400)
    model = small().fit(log.before(20 * 86_400), sample_catalog())
    for day in range(22, 51, 4):
        model.update(log.before(day * 86_400))
    assert log_likelihood(model, log, 50 * 86_400) > frozen + 0.1


class Dying:
    """A tracker whose process is lost at the end of the second epoch."""

    def metrics(self, values: object, *, step: int = 0) -> None:
        if step == 1:
            raise KeyboardInterrupt

    def params(self, values: object) -> None:
        """Nothing to do."""

    def artifact(self, path: Path, *, folder: str = "") -> None:
        """Nothing to do."""


def test_a_training_cut_off_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    config = TrainingConfig(max_epochs=3, n_rounds=2, batch_size=64)

    def model(folder: str, tracker: Tracker | None = None) -> ChronotopeRecommender:
        path = tmp_path / folder
        return ChronotopeRecommender(
            ModelConfig(history_len=16), config, checkpoint_dir=path, tracker=tracker
        )

    whole = model("whole").fit(sample_log(), sample_catalog())
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        model("cut", Dying()).fit(sample_log(), sample_catalog())
    resumed = model("cut").fit(sample_log(), sample_catalog())
    for one, other in zip(whole.net.parameters(), resumed.net.parameters(), strict=True):
        np.testing.assert_array_equal(one.detach().numpy(), other.detach().numpy())
