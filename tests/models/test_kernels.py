"""Kernel values against hand-written formulas."""

import math

import numpy as np
import torch

from chronotope.contracts.eventlog import EventLog
from chronotope.contracts.queries import queries_at
from chronotope.models.batch import local_hour, local_weekday, to_batch
from chronotope.models.kernels import KERNELS, KernelBank

DAY_S = 86_400


def bank_of(days: list[float], items: list[int]) -> dict[str, list[float]]:
    """Kernels of one user's events, asked at the last event."""
    log = EventLog.sorted(
        user_idx=[1] * len(days), item_idx=items, occurred_s=[int(d * DAY_S) for d in days]
    )
    queries = queries_at(log, np.array([len(days) - 1]), history_len=None, time_given=True)
    with torch.no_grad():
        values = KernelBank()(to_batch(queries, len(days) - 1), torch.zeros(10).long())[0]
    return {name: values[:, k].tolist() for k, name in enumerate(KERNELS)}


def test_decay_is_exponential_in_age() -> None:
    bank = bank_of([0, 2, 3], [1, 2, 1])
    np.testing.assert_allclose(bank["decay_1d"], [math.exp(-3), math.exp(-1)], rtol=1e-6)


def test_hour_is_a_circular_gaussian() -> None:
    bank = bank_of([23 / 24, 13 / 24 + 1, 2 + 1 / 24], [1, 2, 3])
    expected = [math.exp(-0.5 * (2 / 1.5) ** 2), math.exp(-0.5 * (12 / 1.5) ** 2)]
    np.testing.assert_allclose(bank["hour"], expected, rtol=1e-5, atol=1e-9)


def test_transition_marks_what_followed_the_last_item() -> None:
    assert bank_of([1, 2, 3, 4, 5], [7, 4, 5, 7, 4])["transition"] == [0, 1, 0, 0]


def test_second_order_transition_needs_both_predecessors() -> None:
    bank = bank_of([1, 2, 3, 4, 5, 6, 7], [5, 7, 3, 7, 5, 7, 1])
    assert bank["transition_2"] == [0, 0, 1, 0, 0, 0]


def test_padding_has_no_weight() -> None:
    log = EventLog.sorted(user_idx=[1, 1], item_idx=[3, 3], occurred_s=[5, 9])
    queries = queries_at(log, np.array([1]), history_len=None, time_given=True)
    values = KernelBank()(to_batch(queries, 4), torch.zeros(10).long())
    assert (values[0, :3] == 0).all()
    assert values[0, 3, 0] == 1


def test_the_local_clock_knows_a_monday() -> None:
    monday_23h_utc = torch.tensor(1_700_521_200)  # 2023-11-20 23:00 UTC
    assert local_weekday(monday_23h_utc, torch.tensor(0)) == 0
    assert local_weekday(monday_23h_utc, torch.tensor(120)) == 1
    assert local_hour(monday_23h_utc, torch.tensor(120)) == 1.0
