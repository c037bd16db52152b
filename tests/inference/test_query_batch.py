"""A batch of users gives what each of them gives alone."""

from datetime import UTC, datetime

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from chronotope.artifact.history_padding import padded_length
from chronotope.inference.forecast import forecast_time, forecast_times, remaining_wait
from chronotope.inference.history import UserHistory, history_to_queries
from chronotope.inference.query_batch import stack_queries

AT = datetime(2024, 1, 1, 12, 0, tzinfo=UTC)
LENGTHS = (4, 8, 16)


def history(n: int, rng: np.random.Generator) -> UserHistory:
    seconds = np.sort(int(AT.timestamp()) - rng.integers(1, 10**7, n))
    indices = rng.integers(0, 5, (2, n)).astype(np.int32)
    offsets = rng.choice([-300, 0, 60], n).astype(np.int32)
    return UserHistory(indices[0], indices[1], seconds, offsets)


@settings(deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=8), st.integers(0, 99))
def test_rows_of_a_batch_are_the_single_queries(sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    singles = [
        history_to_queries(
            history(n, rng), n, AT, context={"rain": float(n)} if n % 2 else {"wind": 1.0}
        )
        for n in sizes
    ]
    batch = stack_queries(singles, history_len=16)
    assert batch.item_idx.shape[1] <= 16
    for row, single in enumerate(singles):
        for name, column in batch.take(slice(row, row + 1)).arrays().items():
            expected = single.arrays().get(name, np.array([np.nan], np.float32))
            if column.ndim == 2:
                width = min(column.shape[1], expected.shape[1])
                assert (column[:, -width:] == expected[:, -width:]).all()
                assert not column[:, :-width].any()
            else:
                np.testing.assert_array_equal(column, expected)
    assert padded_length(batch, LENGTHS) == max(padded_length(of, LENGTHS) for of in singles)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=8), st.integers(0, 99), st.integers(1, 17))
def test_forecasts_of_a_batch_are_those_of_each_user(
    sizes: list[int], seed: int, n_components: int
) -> None:
    rng = np.random.default_rng(seed)
    histories = [history(n, rng) for n in sizes]
    parts = rng.normal(2.0, 2.0, (len(sizes), 3, n_components))
    parts[:, 0] -= np.log(np.exp(parts[:, 0]).sum(axis=1, keepdims=True))  # weights sum to one
    parts[:, 2] = np.clip(parts[:, 2], -1, 1)
    mixtures = parts.astype(np.float32)
    hours = forecast_times(mixtures, histories, AT)
    for row, of in enumerate(histories):
        single = forecast_time(remaining_wait(mixtures[row : row + 1], of, AT))
        if single is None:
            assert np.isnan(hours[row]).all()
        else:
            assert hours[row].tolist() == [single.low_h, single.median_h, single.high_h]
