"""What the settings of a network leave open is decided by the log."""

from dataclasses import replace

import numpy as np
import pytest

from chronotope.contracts.event_log import EventLog
from chronotope.models.config import ModelConfig
from chronotope.testing.recommender_suite import sample_catalog


def events(n_repeats: int, n_events: int = 1_000) -> EventLog:
    """Events of one user, as many of them repeats as asked for."""
    items = np.concatenate([np.arange(1, n_events - n_repeats + 1), np.ones(n_repeats, np.int64)])
    return EventLog.sorted(user_idx=[1] * n_events, item_idx=items, occurred_s=np.arange(n_events))


@pytest.mark.parametrize(("n_repeats", "share"), [(0, 0.0), (4, 0.004), (5, 0.005), (500, 0.5)])
def test_kernels_of_repeats_are_for_logs_with_repeats(n_repeats: int, share: float) -> None:
    log, catalog = events(n_repeats), sample_catalog()
    assert log.repeat_share() == pytest.approx(share)
    assert ModelConfig().decided_by(log.repeat_share(), catalog).repeat_kernels is (share >= 0.005)


def test_the_same_item_of_another_user_is_no_repeat() -> None:
    log = EventLog.sorted(user_idx=[1, 2, 3], item_idx=[5, 5, 5], occurred_s=[1, 2, 3])
    assert log.repeat_share() == 0.0
    assert log.take(np.zeros(3, dtype=np.bool_)).repeat_share() == 0.0


def test_places_that_are_no_items_need_the_kernels() -> None:
    catalog = replace(sample_catalog(), items_are_places=False)
    assert catalog.n_places > 1
    assert ModelConfig().decided_by(0.0, catalog).repeat_kernels is True


def test_a_setting_is_not_decided_again() -> None:
    chosen = ModelConfig(repeat_kernels=False)
    assert chosen.decided_by(0.9, sample_catalog()) == chosen
    assert not chosen.scores_repeats
    assert not ModelConfig(kernels=False, backbone="gru").scores_repeats
