"""Interactions of RecTools and sparse matrices become logs, and logs become these."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import chronotope as ct
from chronotope.contracts.errors import ConfigError, NotEnoughData

INTERACTIONS = pd.DataFrame(
    {
        "user_id": [7, 7, 9, 9],
        "item_id": ["a", "b", "b", "b"],
        "weight": [1.0, 2.5, 1.0, 3.0],
        "datetime": pd.date_range("2024-03-01", periods=4, freq="D"),
    }
)
COUNTS = sparse.csr_array(np.array([[1, 0, 2], [0, 4, 0]]))


def test_interactions_survive_the_way_in_and_out() -> None:
    frame = ct.Log.from_interactions(INTERACTIONS).to_interactions()
    assert frame.columns.tolist() == ["user_id", "item_id", "weight", "datetime"]
    pd.testing.assert_frame_equal(frame, INTERACTIONS, check_dtype=False)
    assert frame["datetime"].dtype == "datetime64[ns]"


def test_a_dataset_gives_its_external_ids_and_interactions_their_internal_ones() -> None:
    internal = INTERACTIONS.assign(user_id=[0, 0, 1, 1], item_id=[0, 1, 1, 1])
    held = SimpleNamespace(df=internal)
    users, items = (
        SimpleNamespace(external_ids=np.array(ids, object)) for ids in ([7, 9], ["a", "b"])
    )
    dataset = SimpleNamespace(interactions=held, user_id_map=users, item_id_map=items)
    assert ct.Log.from_interactions(dataset).users() == [7, 9]
    assert ct.Log.from_interactions(held).users() == [0, 1]


def test_a_class_that_is_passed_constructs_the_dataset() -> None:
    class Dataset:
        def __init__(self, frame: pd.DataFrame) -> None:
            self.frame = frame

        @classmethod
        def construct(cls, interactions_df: pd.DataFrame) -> "Dataset":
            return cls(interactions_df)

    dataset = ct.Log.from_interactions(INTERACTIONS).to_interactions(Dataset)
    assert isinstance(dataset, Dataset)
    assert len(dataset.frame) == 4


@pytest.mark.parametrize(
    ("weighted", "expected"),
    [(False, [[1, 1], [0, 2]]), (True, [[1, 2.5], [0, 4]])],
    ids=["counts", "weights"],
)
def test_a_matrix_counts_events_or_sums_values(weighted: bool, expected: list[Any]) -> None:
    result = ct.Log.from_interactions(INTERACTIONS).to_sparse(weighted=weighted)
    assert result.matrix.toarray().tolist() == expected
    assert (result.user_ids, result.item_ids) == ([7, 9], ["a", "b"])


def test_a_matrix_survives_the_way_in_and_out() -> None:
    log = ct.Log.from_sparse(COUNTS, "2024-03-01", user_ids=["u", "v"], item_ids=[10, 20, 30])
    result = log.to_sparse(weighted=True)
    assert result.matrix.toarray().tolist() == COUNTS.toarray().tolist()
    assert (result.user_ids, result.item_ids) == (["u", "v"], [10, 20, 30])


def test_times_come_from_a_matrix_of_seconds() -> None:
    seconds = sparse.coo_array(([1.7e9, 1.7e9 + 60, 1.7e9 + 5], COUNTS.tocoo().coords))
    log = ct.Log.from_sparse(COUNTS, seconds)
    assert log.events.occurred_s.tolist() == [1_700_000_000, 1_700_000_060, 1_700_000_005]
    assert log.users() == [0, 1]


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((np.eye(2), "2024-03-01"), ConfigError, "csr_array"),
        ((sparse.csr_array((2, 2)), "2024-03-01"), NotEnoughData, "no entry"),
        ((COUNTS, COUNTS.T), ConfigError, "3 times of shape"),
        ((COUNTS, "yesterday"), ConfigError, "yesterday"),
        ((COUNTS, "2024-03-01", {"user_ids": ["u"]}), ConfigError, "each of the 2 rows"),
        ((COUNTS, "2024-03-01", {"item_ids": [1, "a", 2]}), ConfigError, "one type"),
    ],
    ids=["dense", "empty", "other entries", "no time", "few ids", "mixed ids"],
)
def test_matrices_that_are_no_log_are_explained(
    arguments: tuple[Any, ...], error: type[Exception], text: str
) -> None:
    matrix, times, *options = arguments
    with pytest.raises(error, match=text):
        ct.Log.from_sparse(matrix, times, **(options[0] if options else {}))


@pytest.mark.parametrize(
    ("interactions", "text"),
    [
        (INTERACTIONS.drop(columns="weight"), "lack the columns weight"),
        (SimpleNamespace(df=5), "RecTools"),
        ([1, 2], "RecTools"),
    ],
    ids=["column", "no frame", "list"],
)
def test_what_is_no_interactions_is_explained(interactions: Any, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        ct.Log.from_interactions(interactions)


_EXCHANGE = """
import json, os, sys
sys.path += json.loads(os.environ["OUR_PATH"])  # behind its own packages
import numpy as np, pandas as pd
from rectools.dataset import Dataset, Interactions
from rectools.models import PopularModel
import chronotope as ct
assert "rectools" not in [name for name in dir(ct)]
frame = pd.read_json({path!r}, convert_dates=["datetime"])
dataset = Dataset.construct(frame)
log = ct.Log.from_interactions(dataset)
assert log.users() == [7, 9]
assert ct.Log.from_interactions(dataset.interactions).users() == [0, 1]
again = log.to_interactions(Dataset)
left, right = (d.get_raw_interactions().reset_index(drop=True) for d in (dataset, again))
pd.testing.assert_frame_equal(left, right, check_dtype=False)
matrix = log.to_sparse(weighted=True).matrix
assert (matrix.toarray() == again.get_user_item_matrix().toarray()).all()
items = PopularModel().fit(again).recommend([7], again, k=1, filter_viewed=False)
print(items["item_id"].item())
"""


@pytest.mark.slow
def test_the_real_package_reads_and_writes_the_same(tmp_path: Path) -> None:
    python = os.environ.get("CHRONOTOPE_RECTOOLS_PYTHON")
    if python is None:
        pytest.skip("CHRONOTOPE_RECTOOLS_PYTHON names no interpreter that has RecTools")
    path = tmp_path / "interactions.json"
    INTERACTIONS.to_json(path, orient="records", date_format="iso")
    our_path = [str(Path(ct.__file__).parents[1]), *filter(None, sys.path)]
    finished = subprocess.run(  # noqa: S603 - an interpreter that the developer names
        [python, "-c", _EXCHANGE.format(path=str(path))],
        capture_output=True,
        text=True,
        env=os.environ | {"OUR_PATH": json.dumps(our_path), "PYTHONPATH": ""},
        check=False,
    )
    assert finished.stdout.strip() == "b", finished.stderr[-2_000:]
    assert "rectools" not in sys.modules
