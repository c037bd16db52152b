"""Kernel values against hand-written formulas."""

import math

import numpy as np
import torch

from chronotope.contracts.event_log import EventLog
from chronotope.contracts.queries import queries_at
from chronotope.models.batch import Batch, local_hour, local_weekday, to_batch
from chronotope.models.item_tables import ItemTables
from chronotope.models.kernels import (
    FACTORS,
    INDICATORS,
    KERNELS,
    FusedKernels,
    KernelBank,
    kernel_products,
)
from chronotope.testing.recommender_suite import sample_catalog

DAY_S = 86_400


def kernels_of(batch: Batch) -> torch.Tensor:
    """Kernels on items of one category that lie nowhere."""
    tables = ItemTables(sample_catalog())
    tables.category, tables.located = torch.zeros(16).long(), torch.zeros(16)
    return KernelBank()(batch, tables)


def bank_of(days: list[float], items: list[int]) -> dict[str, list[float]]:
    """Kernels of one user's events, asked at the last event."""
    log = EventLog.sorted(
        user_idx=[1] * len(days), item_idx=items, occurred_s=[int(d * DAY_S) for d in days]
    )
    queries = queries_at(log, np.array([len(days) - 1]), history_len=None, time_given=True)
    with torch.no_grad():
        values = kernels_of(to_batch(queries, len(days) - 1))[0]
    return {name: values[:, k].tolist() for k, name in enumerate(KERNELS)}


def test_decay_is_exponential_in_age() -> None:
    bank = bank_of([0, 2, 3], [1, 2, 1])
    np.testing.assert_allclose(bank["decay_1d"], [math.exp(-3), math.exp(-1)], rtol=1e-6)


def test_hour_is_a_circular_gaussian() -> None:
    bank = bank_of([23 / 24, 13 / 24 + 1, 2 + 1 / 24], [1, 2, 3])
    expected = [math.exp(-0.5 * (2 / 1.5) ** 2), math.exp(-0.5 * (12 / 1.5) ** 2)]
    np.testing.assert_allclose(bank["hour"], expected, rtol=1e-5, atol=1e-9)


def test_time_tells_minutes_of_the_day_apart() -> None:
    """After 1 h nearly nothing where "hour" has most of its weight, on Mondays or any day."""
    bank = bank_of([0.5, 7 + 13 / 24, 14 + 12.5 / 24, 15.5], [1, 2, 3, 4])
    one, half = math.exp(-0.5 * (1 / 0.5) ** 2), math.exp(-0.5)
    np.testing.assert_allclose(bank["time"], [1.0, one, half], rtol=1e-4)
    np.testing.assert_allclose(bank["time_weekday"], [0.0, 0.0, 0.0], atol=1e-9)
    assert bank_of([0.5, 1, 7.5], [1, 2, 3])["time_weekday"] == [1.0, 0.0]


def test_wait_compares_the_log_of_how_long_the_next_event_took() -> None:
    bank = bank_of([1, 2, 4, 5, 5 + 1 / 24, 6 + 1 / 24], [1, 2, 3, 1, 9, 2])
    day, two, hour = (math.log(hours + 0.05) for hours in (24.0, 48.0, 1.0))
    expected = [math.exp(-0.5 * ((waited - day) / 0.4) ** 2) for waited in (day, two, day, hour)]
    np.testing.assert_allclose(bank["wait"][1:], expected, rtol=1e-4, atol=1e-9)
    assert bank["wait"][0] == 0  # nothing came before it


def test_nobody_knows_the_wait_of_a_hidden_moment() -> None:
    log = EventLog.sorted(user_idx=[1] * 4, item_idx=[1, 2, 3, 1], occurred_s=[0, 60, 120, 180])
    asked = [queries_at(log, np.array([3]), history_len=None, time_given=g) for g in (True, False)]
    with torch.no_grad():
        given, hidden = (kernels_of(to_batch(each, 3))[0] for each in asked)
    waits = [KERNELS.index(name) for name in KERNELS if name.startswith("wait")]
    assert (given[1:, waits[0]] == 1).all()
    assert (hidden[:, waits] == 0).all()


def test_transition_marks_what_followed_the_last_item() -> None:
    assert bank_of([1, 2, 3, 4, 5], [7, 4, 5, 7, 4])["transition"] == [0, 1, 0, 0]


def test_second_order_transition_needs_both_predecessors() -> None:
    bank = bank_of([1, 2, 3, 4, 5, 6, 7], [5, 7, 3, 7, 5, 7, 1])
    assert bank["transition_2"] == [0, 0, 1, 0, 0, 0]


def test_last_and_today_mark_the_latest_event_and_its_day() -> None:
    bank = bank_of([1.2, 2.1, 2.2, 3], [4, 5, 6, 7])
    assert bank["last"] == [0, 0, 1]
    assert bank["today"] == [0, 1, 1]


def test_a_move_to_next_door_is_like_a_move_to_the_last_item() -> None:
    """After 50 m beside the last place counts e^-0.1; after an item 5 km off, nothing."""
    catalog, log = (
        sample_catalog(),
        EventLog.sorted(
            user_idx=[1] * 6, item_idx=[1, 3, 2, 4, 5, 3], occurred_s=np.arange(6) * DAY_S
        ),
    )
    tables = ItemTables(catalog)
    tables.east_km = torch.tensor([0.0, 0.0, 5.0, 9.0, 9.0, 0.0])
    tables.north_km = torch.tensor([0.0, 0.05, 0.0, 9.0, 9.0, 0.0])
    tables.located = torch.ones(6)
    tables.category = torch.zeros(6).long()
    queries = queries_at(log, np.array([5]), history_len=None, time_given=True)
    with torch.no_grad():
        bank = KernelBank()(to_batch(queries, 5), tables)[0]
    near = bank[:, KERNELS.index("after_near")]
    np.testing.assert_allclose(near[1:4], [math.exp(-0.1), 0.0, math.exp(-10)], atol=1e-4)


def test_padding_has_no_weight() -> None:
    log = EventLog.sorted(user_idx=[1, 1], item_idx=[3, 3], occurred_s=[5, 9])
    queries = queries_at(log, np.array([1]), history_len=None, time_given=True)
    values = kernels_of(to_batch(queries, 4))
    assert (values[0, :3] == 0).all()
    assert values[0, 3, 0] == 1


def test_the_local_clock_knows_a_monday() -> None:
    monday_23h_utc = torch.tensor(1_700_521_200)  # 2023-11-20 23:00 UTC
    assert local_weekday(monday_23h_utc, torch.tensor(0)) == 0
    assert local_weekday(monday_23h_utc, torch.tensor(120)) == 1
    assert local_hour(monday_23h_utc, torch.tensor(120)) == 1.0


def test_fused_kernels_have_the_gradients_of_automatic_differentiation() -> None:
    torch.manual_seed(3)
    n_indicators = len(INDICATORS)
    rates = torch.rand(len(FACTORS), dtype=torch.float64, requires_grad=True)
    distances = torch.rand(len(FACTORS), 2, 5, dtype=torch.float64)
    is_event = (torch.rand(2, 5, dtype=torch.float64) > 0.2).double()
    indicators = torch.rand(n_indicators, 2, 5, dtype=torch.float64).unbind()
    bank = kernel_products(rates, distances, is_event, indicators)
    weights = torch.rand_like(bank)
    (expected,) = torch.autograd.grad((bank * weights).sum(), rates)
    fused = FusedKernels.apply(rates, distances, is_event, *indicators)
    (gradient,) = torch.autograd.grad((fused * weights).sum(), rates)
    torch.testing.assert_close(fused, bank)
    torch.testing.assert_close(gradient, expected)


def test_recency_alone_is_that_kernel_of_the_bank() -> None:
    bank, tables = KernelBank(), ItemTables(sample_catalog())
    log = EventLog.sorted(
        user_idx=[1, 1, 1, 2, 2], item_idx=[1, 2, 3, 4, 1], occurred_s=[0, DAY_S, 90_000, 5, 70]
    )
    queries = queries_at(log, np.array([2, 4]), history_len=None, time_given=True)
    batch = to_batch(queries, 4)  # with padding
    whole = bank.event_kernels(batch, tables, whole=True)
    alone = bank.event_kernels(batch, tables, whole=False)
    assert alone.bank is None
    torch.testing.assert_close(alone.recency, whole.recency)
