"""Rows of the benchmark of anomalies, on a few payments."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.anomalies import __main__ as benchmark

N_PAYMENTS = 3_000


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with payments of June and July; fraud is five times the amount."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("data")
    is_fraud = rng.random(N_PAYMENTS) < 0.03
    start = np.datetime64("2018-05-01").astype("datetime64[s]")
    occurred_at = start + rng.integers(0, 85 * 86_400, N_PAYMENTS).astype("timedelta64[s]")
    table = pa.table(
        {
            "transaction_id": np.arange(N_PAYMENTS),
            "occurred_at": occurred_at.astype("datetime64[ns]"),
            "customer_id": rng.integers(0, 300, N_PAYMENTS).astype(str),
            "terminal_id": rng.integers(0, 50, N_PAYMENTS).astype(str),
            "amount": rng.normal(50, 5, N_PAYMENTS) * np.where(is_fraud, 5, 1),
            "is_fraud": is_fraud.astype(np.int8),
            "fraud_scenario": (3 * is_fraud).astype(np.int8),
        }
    )
    (folder / "card_payments").mkdir()
    pq.write_table(table, folder / "card_payments" / "payments.parquet")
    return folder


def test_rows_of_two_models_stand_beside_each_other(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_tests = benchmark.TEST_STARTS["development"][:2]
    monkeypatch.setitem(benchmark.TEST_STARTS, "development", two_tests)
    path = tmp_path / "rows.json"
    arguments = ["--data", str(data), "--weeks", "development", "--json", str(path)]
    for models in ("isolation_forest", "supervised", "supervised"):
        benchmark.main([*arguments, "--models", models])
    rows = json.loads(path.read_text(encoding="utf-8"))
    assert len(rows) == (3 + 2) * 4
    supervised = next(row for row in rows if row["model"] == "supervised")
    assert supervised["labels"] == "delayed"
    assert supervised["auroc"] > 0.9
    assert {row["scenario"] for row in rows} == {"all", "1", "2", "3"}
