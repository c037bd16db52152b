"""Curves and rivals of the benchmark of explanations, on a model that is known."""

import numpy as np
import pytest

from benchmarks.explanations import (
    METHODS,
    Curves,
    curve_areas,
    curves_of,
    explained_item,
    lime_weights,
    rows_of,
)
from chronotope.contracts.event_log import Float32
from chronotope.contracts.queries import Queries
from chronotope.explanations import HistoryOcclusion
from tests.explanations.test_explain_items import history

N_ITEMS = 8


def latest_alone(queries: Queries) -> Float32:
    """Item 7 by its events, two of which count nearly everything."""
    logits = np.zeros((len(queries), N_ITEMS), np.float32)
    for row in range(len(queries)):
        hours = queries.occurred_s[row] // 3600
        logits[row, 7] = 4.0 * (hours == 2).any() + 3.0 * (hours == 11).any()
        logits[row, 7] += 0.01 * (queries.item_idx[row] > 0).sum()
    return logits


QUERY = history([7, 7, *[3] * 8, 7, 5])


def test_the_right_order_has_the_smaller_deletion_and_the_larger_insertion_area() -> None:
    occlusion = HistoryOcclusion(latest_alone, QUERY, explained_item(latest_alone, QUERY))
    assert occlusion.item_idx.tolist() == [7]
    right = curve_areas(occlusion, np.array([1, 10, *range(2, 10), 0, 11]))
    wrong = curve_areas(occlusion, np.array([0, *range(2, 10), 11, 1, 10]))
    assert right[0] < 0.5 < wrong[0]
    assert right[1] > 0.8 > wrong[1]


def test_lime_finds_what_counts() -> None:
    occlusion = HistoryOcclusion(latest_alone, QUERY, np.array([7]))
    events = np.arange(12)
    weights = lime_weights(occlusion, events, 200, np.random.default_rng(0))
    assert set(np.argsort(-weights)[:2].tolist()) == {1, 10}


def test_ratios_are_of_means_with_intervals() -> None:
    curves = curves_of(latest_alone, QUERY, np.random.default_rng(0))
    assert curves.deletion["effects"] <= min(curves.deletion[m] for m in ("random", "recency"))
    assert curves.stability["effects"] == 1.0
    other = Curves(
        dict.fromkeys(METHODS, 0.5), dict.fromkeys(METHODS, 0.5), {"effects": 1.0, "lime": 0.4}
    )
    rows = {row["measure"]: row for row in rows_of("city", [curves, other], "2 users")}
    expected = (curves.deletion["random"] + 0.5) / (curves.deletion["effects"] + 0.5)
    ratio = rows["deletion_ratio_random"]
    assert ratio["value"] == pytest.approx(expected)
    assert ratio["low"] <= ratio["value"] <= ratio["high"]
    assert {"deletion_ratio_recency", "insertion_ratio_lime", "stability"} <= set(rows)
