"""Augmentation: histories change, targets, last events and validation do not."""

from dataclasses import replace

import numpy as np
import pytest

from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.contracts.queries import Queries, queries_at
from chronotope.models.config import ModelConfig
from chronotope.training.augmentation import AUGMENTATIONS, AugmentationConfig
from chronotope.training.augmentation.generated_users import generated_log, generated_rounds
from chronotope.training.augmentation.histories import HistoryAugmentation
from chronotope.training.augmentation.training_batches import training_batches
from chronotope.training.config import TrainingConfig
from chronotope.training.prequential import RoundBatches, make_rounds
from chronotope.training.recommender import ChronotopeRecommender
from tests.training.generators import small_city as whole_city

HISTORY_KINDS = ("crop", "window", "mask", "reorder", "substitute")
MODEL = ModelConfig(history_len=16)
TRAINING = TrainingConfig(n_rounds=2, max_targets=300, batch_size=64)


def small_city() -> tuple[EventLog, Catalog]:
    log, catalog = whole_city.small_city()
    return log.take(log.user_idx <= 25), catalog


def queries() -> Queries:
    log, _ = small_city()
    positions = np.flatnonzero(log.basket_start() > log.user_start())[100:1_900:20]
    return queries_at(log, positions, history_len=16, time_given=True)


def augmented(kind: str, **options: object) -> Queries:
    config = AugmentationConfig.model_validate({"kind": kind, "amount": 1.0, **options})
    return HistoryAugmentation.of(config, *small_city()).apply(queries(), np.random.default_rng(0))


@pytest.mark.parametrize("kind", HISTORY_KINDS)
def test_histories_change_and_the_last_event_stays(kind: str) -> None:
    real, changed = queries(), augmented(kind)
    assert not np.array_equal(real.item_idx, changed.item_idx)
    for name in ("item_idx", "occurred_s", "place_idx", "utc_offset_min"):
        assert np.array_equal(getattr(real, name)[:, -1], getattr(changed, name)[:, -1])
    assert np.array_equal(real.request_s, changed.request_s)
    is_event = changed.item_idx > 0
    assert (np.diff(is_event.astype(int), axis=1) >= 0).all()  # padding stays on the left
    times = np.where(is_event, changed.occurred_s, 0)
    assert (np.diff(times, axis=1) >= 0).all()


@pytest.mark.parametrize("kind", ["crop", "window", "mask"])
def test_dropped_events_are_gone_and_kept_ones_are_real(kind: str) -> None:
    real, changed = queries(), augmented(kind)
    for before, after, times, kept_times in zip(
        real.item_idx, changed.item_idx, real.occurred_s, changed.occurred_s, strict=True
    ):
        events = set(zip(before.tolist(), times.tolist(), strict=True))
        kept = [pair for pair in zip(after.tolist(), kept_times.tolist(), strict=True) if pair[0]]
        assert set(kept) <= events
    assert (changed.item_idx > 0).sum() < 0.9 * (real.item_idx > 0).sum()


def test_reordering_keeps_the_items_of_a_user() -> None:
    real, changed = queries(), augmented("reorder")
    assert np.array_equal(np.sort(real.item_idx, axis=1), np.sort(changed.item_idx, axis=1))
    assert np.array_equal(real.occurred_s, changed.occurred_s)


def test_substitutes_are_neighbours_and_move_the_place() -> None:
    changed = augmented("substitute")
    assert np.array_equal(changed.item_idx, changed.place_idx)
    share = np.mean(changed.item_idx != queries().item_idx)
    assert 0.05 < share < 0.25


def test_sparse_only_leaves_long_histories_alone() -> None:
    real, changed = queries(), augmented("window", sparse_only=True)
    is_long = (real.item_idx > 0).sum(axis=1) > 10
    assert is_long.any()
    assert np.array_equal(real.item_idx[is_long], changed.item_idx[is_long])


def batches_of(kind: str, **options: object) -> RoundBatches:
    log, catalog = small_city()
    augmentation = AugmentationConfig.model_validate({"kind": kind, **options})
    config = TRAINING.model_copy(update={"augmentation": augmentation})
    train_rounds, valid_rounds = make_rounds(log, catalog, config)
    return training_batches(log, catalog, config, MODEL, train_rounds, valid_rounds)


def test_without_augmentation_batches_are_the_plain_ones() -> None:
    assert type(batches_of("none")) is RoundBatches
    assert type(batches_of("mask", amount=0.0)) is RoundBatches


@pytest.mark.parametrize("kind", ["mask", "generator"])
def test_real_targets_stay_and_the_seed_decides(kind: str) -> None:
    plain, changed = batches_of("none"), batches_of(kind)
    real_items = np.sort(np.concatenate([batch.target_item for batch in plain]))
    batches = list(changed)
    kept = [batch for batch in batches if batch.weight == 1.0]
    assert np.array_equal(np.sort(np.concatenate([b.target_item for b in kept])), real_items)
    assert len(batches) == len(changed)
    again = list(batches_of(kind))
    assert all(
        np.array_equal(a.batch.item_idx, b.batch.item_idx)
        for a, b in zip(batches, again, strict=True)
    )


def test_generated_targets_have_a_weight_and_the_priors_of_real_rounds() -> None:
    changed = batches_of("generator", weight=0.25, amount=1.0)
    extra = [batch for batch in changed if batch.weight != 1.0]
    assert extra
    assert {batch.weight for batch in extra} == {0.25}
    real_priors = {id(batch.priors) for batch in changed if batch.weight == 1.0}
    assert {id(batch.priors) for batch in extra} <= real_priors


def test_generated_users_know_nothing_of_the_validation() -> None:
    log, catalog = small_city()
    cut_s = int(np.quantile(log.occurred_s, 0.8))
    config = AugmentationConfig(kind="generator", sparse_only=True)
    generated = generated_log(config, log.before(cut_s), catalog, seed=0)
    assert generated.occurred_s.max() < cut_s
    rounds, _ = make_rounds(log, catalog, TRAINING)
    n_past = generated.basket_start() - generated.user_start()
    for each in generated_rounds(config, log, generated, rounds, seed=0):
        assert (n_past[each.positions] <= 10).all()


def test_unknown_kinds_are_refused_and_all_kinds_are_listed() -> None:
    assert set(HISTORY_KINDS) | {"none", "generator", "gan"} == set(AUGMENTATIONS)
    with pytest.raises(ValueError, match="kind"):
        AugmentationConfig.model_validate({"kind": "rotate"})


def test_a_batch_is_not_changed_in_place() -> None:
    real = queries()
    config = AugmentationConfig(kind="substitute", amount=1.0)
    copy = replace(real, item_idx=real.item_idx.copy())
    HistoryAugmentation.of(config, *small_city()).apply(real, np.random.default_rng(0))
    assert np.array_equal(real.item_idx, copy.item_idx)


def test_a_model_trains_with_generated_users_and_ranks_differently() -> None:
    log, catalog = small_city()
    training = {"max_epochs": 1, "n_rounds": 2, "max_targets": 200, "discovery_targets": 0}
    asked, scores = queries(), []
    for kind in ("none", "generator", "window"):
        config = TrainingConfig.model_validate(training | {"augmentation": {"kind": kind}})
        scores.append(ChronotopeRecommender(MODEL, config).fit(log, catalog).scores(asked))
    assert np.isfinite(scores).all()
    assert not np.allclose(scores[0], scores[1])
    assert not np.allclose(scores[0], scores[2])


def test_shards_of_joined_batches_are_parts_of_the_same_batches() -> None:
    changed = batches_of("generator", amount=1.0)
    whole = list(changed)
    parts = [list(changed.shard(rank, 2)) for rank in range(2)]
    assert len(parts[0]) == len(parts[1]) == len(whole)
    for batch, *shards in zip(whole, *parts, strict=True):
        assert sum(len(shard.target_item) for shard in shards) == len(batch.target_item)
