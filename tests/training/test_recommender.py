"""The product's own model keeps the suite's promises, and learns what can be learned."""

from pathlib import Path

import numpy as np
import pytest

from chronotope.contracts.errors import ChronotopeError, NotEnoughData
from chronotope.contracts.eventlog import EventLog
from chronotope.contracts.protocols import Recommender, Tracker
from chronotope.models.config import Backbone, ModelConfig
from chronotope.training.config import TrainingConfig
from chronotope.training.recommender import ChronotopeRecommender
from tests.models.recommender_suite import RecommenderSuite, sample_catalog, sample_log


def small(backbone: Backbone = "none", folder: Path | None = None) -> ChronotopeRecommender:
    return ChronotopeRecommender(
        ModelConfig(history_len=16, backbone=backbone, backbone_len=4, d_model=8),
        TrainingConfig(max_epochs=1, n_rounds=2, batch_size=64),
        folder=folder,
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
            ModelConfig(history_len=16), config, folder=path, tracker=tracker
        )

    whole = model("whole").fit(sample_log(), sample_catalog())
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        model("cut", Dying()).fit(sample_log(), sample_catalog())
    resumed = model("cut").fit(sample_log(), sample_catalog())
    for one, other in zip(whole.net.parameters(), resumed.net.parameters(), strict=True):
        np.testing.assert_array_equal(one.detach().numpy(), other.detach().numpy())
