"""The mean of trainings is ranked by the mean of their probabilities."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import averaging
from benchmarks.next_place import Stream
from chronotope.artifact.hidden_time import RequestTimeMarginalized
from chronotope.contracts.queries import queries_at
from chronotope.testing.recommender_suite import sample_catalog, sample_log
from chronotope.training.config import TrainingConfig
from chronotope.training.recommender import ChronotopeRecommender

TRAINING = TrainingConfig(max_epochs=1, n_rounds=2, batch_size=64)


def sample_stream() -> Stream:
    """The sample log, cut in time at its three quarters."""
    log = sample_log()
    start_s = int(np.quantile(log.occurred_s, 0.75))
    has_past = log.basket_start() > log.user_start()
    targets = np.flatnonzero((log.occurred_s >= start_s) & has_past)
    return Stream(log, log.before(start_s), sample_catalog(), targets, (start_s,))


def test_rows_are_those_of_each_training_and_of_their_mean() -> None:
    rows = averaging.measure(sample_stream(), TRAINING, n_trainings=2, time_given=True)
    first, second, mean = rows
    assert [row["model"] for row in rows] == ["seed 0", "seed 1", "mean of 2"]
    assert first["mrr_gain"] == "+0.0000 [+0.0000, +0.0000]"
    # both expectations are linear in the probabilities, apart from the choice of the ten
    assert mean["own_new"] == pytest.approx((first["own_new"] + second["own_new"]) / 2)
    assert 0 < mean["own_acc_10"] <= (first["own_acc_10"] + second["own_acc_10"]) / 2 + 1e-9


def test_the_mean_is_that_of_the_probabilities() -> None:
    stream = sample_stream()
    one, other = (
        RequestTimeMarginalized(
            ChronotopeRecommender(training=TRAINING.model_copy(update={"seed": seed})).fit(
                stream.base, stream.catalog
            )
        )
        for seed in range(2)
    )
    queries = queries_at(stream.log, stream.targets[:5], history_len=8, time_given=True)
    both, *alone = (
        averaging.MeanOfModels("", models).scores(queries)
        for models in ((one, other), (one,), (other,))
    )
    np.testing.assert_allclose(both, (alone[0] + alone[1]) / 2)
    np.testing.assert_allclose(both.sum(axis=1), 1.0)
    assert not both[:, 0].any()
    assert np.abs(alone[0] - alone[1]).max() > 1e-6


def test_every_nth_target_is_measured_and_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(averaging, "data_set_dir", lambda *_: tmp_path)
    monkeypatch.setattr(averaging, "read_stream", lambda _: sample_stream())
    monkeypatch.setattr(averaging, "WITHIN_SESSION", TRAINING)
    written = tmp_path / "rows.json"
    averaging.main(["--targets", "all", "--every", "3", "--trainings", "1", "--json", str(written)])
    rows = json.loads(written.read_text())
    assert [row["model"] for row in rows] == ["seed 0", "mean of 1"]
    assert {row["n_targets"] for row in rows} == {-(-len(sample_stream().targets) // 3)}
    assert rows[1]["mrr_gain"] == "+0.0000 [+0.0000, +0.0000]"
