from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pytest

from chronotope.contracts.ids import IdMap
from chronotope.contracts.schemas import INSTANT, ITEM_CONTEXT
from chronotope.features.item_context_index import build_item_context, item_context_columns

ITEMS, PLACES = IdMap(pa.array(["x", "y"])), IdMap(pa.array(["p"]))
DEFAULTS = {"promo": "0", "price": 1.0}


def rows(n: int = 40) -> pa.Table:
    seconds = np.full(n, 1_000_000)
    columns = [
        pa.array(["x", "y"] * (n // 2)),
        pa.array(["p"] * (n - 2) + ["", "elsewhere"]),
        pa.array(seconds).cast(INSTANT),
        pa.array([2_500_000] * (n - 1) + [None]).cast(INSTANT),
        pa.array(np.linspace(0.5, 2.0, n)),
        pa.array(["A", "0"] * (n // 2)),
    ]
    fields = [*ITEM_CONTEXT, pa.field("price", pa.float64()), pa.field("promo", pa.string())]
    return pa.table(columns, schema=pa.schema(fields))


def reader(table: pa.Table):
    def read_rows(names: list[str]) -> Iterable[pa.RecordBatch]:
        return table.select(names).to_batches(max_chunksize=7)

    return read_rows


def test_levels_are_frequent_texts_and_ranges_and_the_default_has_none() -> None:
    promo, price = item_context_columns(reader(rows()), DEFAULTS)
    assert promo.levels == ("A",)
    assert promo.level("A") == 1
    assert promo.level("0") == promo.level("B") == promo.level(None) == 0
    assert price.first == 2
    assert price.level(1.0) == 0
    assert price.level(0.1) == 2
    assert price.level(9.0) == price.first + len(price.levels) - 1


def test_rows_of_unknown_items_and_places_are_left_out() -> None:
    table = rows()
    columns = item_context_columns(reader(table), DEFAULTS)
    index = build_item_context(reader(table), columns, ITEMS, PLACES)
    assert index.block_place.tolist() == [0, 1]  # one row holds everywhere
    assert index.block_from_s.tolist() == [1, 1]
    assert index.block_until_s.tolist() == [3, 3]  # rounded up to whole seconds
    assert sorted(index.item_idx.tolist()) == [1, 1, 2]


@pytest.mark.parametrize("values", [["B"] * 30, ["0"] * 30])
def test_columns_are_independent_of_the_batches(values: list[str]) -> None:
    table = pa.table({"promo": values})
    (column,) = item_context_columns(reader(table), {"promo": "0"}) or (None,)
    assert (column is None) == (values[0] == "0")
