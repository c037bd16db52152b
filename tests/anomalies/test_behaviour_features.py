"""Features read the past only, and say what they are named after."""

from dataclasses import replace

import numpy as np
import pytest

from chronotope.anomalies import EventLabels, behaviour_features, risk_features
from chronotope.anomalies.behaviour_features import DAY_S, FeatureTable, mean_value
from chronotope.contracts.errors import DataError
from chronotope.contracts.event_log import EventLog
from tests.anomalies.conftest import Payments


def test_later_events_change_no_feature(payments: Payments, features: FeatureTable) -> None:
    log, cut_s = payments.log, 1_700_000_000 + 40 * DAY_S
    is_before = log.occurred_s < cut_s
    earlier = behaviour_features(log.before(cut_s), payments.places, typical_value=mean_value(log))
    assert earlier.names == features.names
    # running sums over more users round differently
    np.testing.assert_allclose(earlier.values, features.values[is_before], rtol=1e-4, atol=1e-4)


def test_younger_labels_and_unknown_ones_count_for_nothing(payments: Payments) -> None:
    log, labels, now_s = payments.log, payments.labels, 1_700_000_000 + 40 * DAY_S
    risk = risk_features(log, labels, delay_days=7)
    is_young = log.occurred_s > now_s - 7 * DAY_S
    flipped = np.where(is_young, 1 - labels.is_anomalous, labels.is_anomalous)
    changed = risk_features(log, replace(labels, is_anomalous=flipped), delay_days=7)
    until_now = log.occurred_s <= now_s
    np.testing.assert_array_equal(risk.values[until_now], changed.values[until_now])
    assert not np.array_equal(risk.values, changed.values)
    unlabelled = EventLabels(labels.is_anomalous, np.zeros(len(log), bool))
    assert not risk_features(log, unlabelled, delay_days=7).values.any()


def five_events() -> FeatureTable:
    """A user pays 10 at item 1 each day at noon, then 100 at item 2 at night, far away."""
    hours = np.array([12, 36, 60, 84, 99])  # the last at 3 at night
    log = EventLog.sorted(
        user_idx=[1] * 5, item_idx=[1, 1, 1, 1, 2], occurred_s=hours * 3600, value=[10] * 4 + [100]
    )
    from chronotope.anomalies import ItemPlaces

    places = ItemPlaces(np.array([np.nan, 48.2, 48.2]), np.array([np.nan, 16.4, 17.7]))
    return behaviour_features(log, places)


def test_features_of_a_payment_that_is_not_like_the_others() -> None:
    table = five_events()
    usual, last = (dict(zip(table.names, table.values[row], strict=True)) for row in (3, 4))
    assert abs(usual["amount_deviation"]) < 0.1
    assert last["amount_deviation"] > 5
    assert (usual["item_returns"], last["item_returns"]) == pytest.approx((np.log(4), 0))
    assert last["hour_surprise"] > usual["hour_surprise"]
    assert (usual["night"], last["night"]) == (0, 1)
    assert np.expm1(last["distance"]) == pytest.approx(96.4, abs=1)
    assert np.expm1(last["speed"]) == pytest.approx(96.4 / 15, rel=0.02)
    assert np.expm1(last["user_events_1d"]) == pytest.approx(1)
    assert np.expm1(last["gap"]) == pytest.approx(15 * 3600, rel=1e-4)


def test_a_log_without_amounts_and_places_has_fewer_features(payments: Payments) -> None:
    log = replace(payments.log, value=np.full(len(payments.log), np.nan, np.float32))
    names = behaviour_features(log).names
    assert not [name for name in names if "amount" in name or "spend" in name or name == "speed"]
    with pytest.raises(DataError, match="lack features"):
        behaviour_features(log).select(["amount"])
