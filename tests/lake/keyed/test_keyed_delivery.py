"""A delivery of keyed rows lands whole or not at all, and the last row of a key counts."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from chronotope.contracts.schemas import ITEM_CONTEXT
from chronotope.lake import Lake
from chronotope.lake.keyed import keyed_delivery
from chronotope.lake.table_schemas import ITEM_CONTEXT_TABLE, TABLE_KEYS

START = datetime(2024, 1, 1, tzinfo=UTC)
SCHEMA = pa.schema([*ITEM_CONTEXT, pa.field("promo", pa.string())])


def rows(promotions: dict[str, str]) -> pa.Table:
    keys = {"place_id": "", "valid_from": START, "valid_until": None}
    return pa.Table.from_pylist(
        [{"item_id": item, "promo": promo, **keys} for item, promo in promotions.items()], SCHEMA
    )


def deliver(lake: Lake, *batches: dict[str, str], unchanged: str = "", dies: str = "") -> None:
    """Stage batches and commit them; the process kills itself while it stages or commits."""
    with keyed_delivery(lake.root, ITEM_CONTEXT_TABLE, TABLE_KEYS[ITEM_CONTEXT_TABLE]) as staged:
        for batch in batches:
            is_changed = np.array([item not in unchanged for item in batch])
            staged.add(rows(batch), is_changed)
        if dies == "stage":
            os.kill(os.getpid(), signal.SIGKILL)
        is_last = staged.is_last_of_key()

        def read_rows() -> Iterator[pa.Table]:
            yield from staged.rows(is_last)
            if dies == "commit":
                os.kill(os.getpid(), signal.SIGKILL)

        lake.upsert_stream(ITEM_CONTEXT_TABLE, SCHEMA, read_rows)


def promotions(lake: Lake) -> dict[str, str]:
    stored = lake.read(ITEM_CONTEXT_TABLE)
    return dict(zip(stored["item_id"].to_pylist(), stored["promo"].to_pylist(), strict=True))


def test_an_unchanged_row_replaces_an_earlier_changed_one(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    deliver(lake, {"x": "A", "y": "A"})
    deliver(lake, {"x": "B"}, {"x": "A", "y": "A"}, {"z": "C"}, unchanged="xy")
    assert promotions(lake) == {"x": "A", "y": "A", "z": "C"}
    assert lake.version(ITEM_CONTEXT_TABLE) == 1


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_keyed_delivery import deliver, Lake
deliver(Lake(Path(sys.argv[1])), {"x": "B"}, {"y": "B"}, dies=sys.argv[3])
"""


@pytest.mark.parametrize("has_table", [False, True], ids=["first", "later"])
@pytest.mark.parametrize("moment", ["stage", "commit"])
def test_a_kill_leaves_the_table_of_before_and_the_next_delivery_is_whole(
    tmp_path: Path, moment: str, *, has_table: bool
) -> None:
    lake = Lake(tmp_path)
    if has_table:
        deliver(lake, {"x": "A"})
    arguments = [str(tmp_path), str(Path(__file__).parent), moment]
    process = subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False)  # noqa: S603
    assert process.returncode == -signal.SIGKILL
    assert lake.exists(ITEM_CONTEXT_TABLE) is has_table
    assert not has_table or promotions(lake) == {"x": "A"}
    deliver(lake, {"x": "B"}, {"y": "B"})
    assert promotions(lake) == {"x": "B", "y": "B"}
    assert not list(tmp_path.glob(".keyed-staging-*"))
