"""Counts since 1970 in every unit, without a loss of digits."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronotope.datasets.time_spec import EPOCH_UNITS_NS, TimeKind
from chronotope.datasets.values.epochs import count_micros

NANOS = st.integers(-(2**62), 2**62)


@pytest.mark.parametrize("kind", EPOCH_UNITS_NS)
@given(nanos=NANOS)
def test_integers_and_their_texts_are_exact(kind: TimeKind, nanos: int) -> None:
    unit_ns = EPOCH_UNITS_NS[kind]
    count = nanos // unit_ns
    for column in (pa.array([count]), pa.array([str(count)]), pa.array([f"{count}.0"])):
        micros, is_read = count_micros(column, unit_ns)
        assert is_read.all()
        assert abs(micros[0] - count * unit_ns // 1_000) <= (1 if unit_ns == 1 else 0)


def test_fractions_beyond_a_microsecond_are_cut_off() -> None:
    texts = pa.array(["1709539200.1234569", "9.78300760e8", "-1.5"])
    assert count_micros(texts, 10**9)[0].tolist() == [1709539200123456, 978300760000000, -1500000]


def test_what_is_no_time_is_not_read() -> None:
    texts = ["99999999999999999999", "inf", "nan", "0x1F", "", "soon", None, "1e300"]
    assert not count_micros(pa.array(texts), 10**9)[1].any()
    assert not count_micros(pa.array([2**64 - 1], pa.uint64()), 10**9)[1].any()
    assert not count_micros(pa.array([np.inf, np.nan, 1e300]), 1)[1].any()
