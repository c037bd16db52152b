"""Rounds are compared on the clients that answered both, whoever dropped out."""

from typing import Any

import pytest

from chronotope.federated.config import AggregationConfig
from chronotope.federated.round_selection import RoundRecord, loss_change

MEAN = AggregationConfig(secure=False)
TRIMMED = AggregationConfig(secure=False, rule="trimmed_mean", trim_share=0.25)


def record(later_loss: float | None, losses: dict[int, float] | None = None, **fields: Any) -> Any:
    """Round with losses on ten later targets of each client, but 30 of client 3."""
    single = {n: (loss, 30.0 if n == 3 else 10.0) for n, loss in (losses or {}).items()}
    return RoundRecord(
        name="round",
        n_answers=3,
        failures={},
        mb_per_client=0.0,
        seconds=0.0,
        later_loss=later_loss,
        client_losses=single,
        **fields,
    )


def test_drop_outs_do_not_look_like_a_change_of_the_parameters() -> None:
    before = record(5.0, {1: 2.0, 2: 8.0})
    after = record(7.9, {2: 7.9, 3: 7.9})  # each client is better, but the easy one dropped out
    assert loss_change(before, after, MEAN) == pytest.approx(-0.1)


def test_clients_weigh_by_their_targets_and_liars_are_cut() -> None:
    before = record(5.0, {0: 5.0, 1: 5.0, 2: 5.0, 3: 5.0})
    after = record(5.0, {0: 5.1, 1: 5.2, 2: 1e9, 3: 5.0})
    assert loss_change(before, after, MEAN) == pytest.approx((0.1 + 0.2 + 1e9) / 6)
    assert loss_change(before, after, TRIMMED) == pytest.approx(0.15)
    median = AggregationConfig(secure=False, rule="median")
    assert 0.0 < (loss_change(before, after, median) or 0.0) < 0.3


def test_sums_are_compared_if_they_are_of_the_same_clients() -> None:
    before = record(5.0, client_numbers=(1, 2))
    assert loss_change(before, record(4.0, client_numbers=(1, 2)), MEAN) == -1.0
    assert loss_change(before, record(4.0, client_numbers=(1, 3)), MEAN) is None


def test_rounds_without_a_common_client_or_a_loss_are_not_compared() -> None:
    assert loss_change(record(5.0, {1: 5.0}), record(4.0, {2: 4.0}), MEAN) is None
    assert loss_change(record(None), record(4.0), MEAN) is None
