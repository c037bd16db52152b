"""A period replayed: each row once, each event predicted once, wherever it was killed."""

import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pytest
from typer.testing import CliRunner

from chronotope.artifact.bundle import write_bundle
from chronotope.cli.main import app
from chronotope.lake import Lake
from chronotope.pipelines.backtest import BacktestConfig
from chronotope.pipelines.results import BacktestSummary, ChunkMetrics
from chronotope.registry.mlflow_store import open_store
from chronotope.registry.model_versions import register_version
from chronotope.registry.promotion import promote
from chronotope.runtime.workspace import Workspace
from chronotope.testing.recommender_suite import sample_catalog, sample_log
from flows import backfill_events as module
from flows import without_heartbeat
from flows.ingest_events import IngestSettings
from tests.inference.hand_made import MODEL, write_graph

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect")]

YAML = """
name: city
description: Four weeks of a city.
licence: CC0-1.0
data_dir: {folder}
items_are_places: true
events:
  format: csv
  path: log.csv
  columns: {{user_id: user, item_id: item, occurred_at: at, lat: lat}}
"""
PERIOD = BacktestConfig(start=date(2020, 9, 20), end=date(2020, 10, 11), chunk_h=168)
TRAINED_UNTIL_S = 1_600_992_000 + 3_600  # an hour into 2020-09-25, in the first chunk


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with a catalogue alone, and a champion that knows no past."""
    root = tmp_path_factory.mktemp("untouched")
    items = sample_catalog().items.ids
    Lake(Workspace(root).lake("city")).upsert_items(pa.table({"item_id": items}))
    crown(root)
    return root


@pytest.fixture
def root(untouched: Path, tmp_path: Path) -> Path:
    """A copy of it, and a log with two bad rows."""
    shutil.copytree(untouched, tmp_path, dirs_exist_ok=True)
    log, catalog = sample_log(), sample_catalog()
    users, items = (ids.ids for ids in (catalog.users, catalog.items))
    at = pa.array(log.occurred_s * 1_000_000, pa.timestamp("us", tz="UTC")).cast(pa.string())
    columns = {
        "user": [*users.take(pa.array(log.user_idx - 1)).to_pylist(), "u00", "u01"],
        "item": [*items.take(pa.array(log.item_idx - 1)).to_pylist(), "i00", "i01"],
        "at": [*at.to_pylist(), "no time at all", "2020-09-30 12:00:00Z"],
        "lat": [*[48.2] * len(log), 48.2, 999.0],
    }
    pyarrow.csv.write_csv(pa.table(columns), tmp_path / "log.csv")
    (tmp_path / "city.yaml").write_text(YAML.format(folder=tmp_path), encoding="utf-8")
    return tmp_path


def crown(root: Path) -> None:
    bundle, store = root / "bundle", open_store(Workspace(root).mlruns)
    bundle.mkdir()
    write_graph(bundle / MODEL)
    about = {"name": "hand", "dataset": "city", "data_version": "1", "history_len": 8}
    write_bundle(bundle, sample_catalog(), trained_until_s=TRAINED_UNTIL_S, **about)
    with store.run("city", "hand") as tracker:
        register_version(store, name="city", bundle_dir=bundle, run_id=tracker.run_id, tags={})
    promote(store, "city", "1", expected_champion=None, key="first", reason="first")


def backfilled(root: Path, period: BacktestConfig = PERIOD) -> BacktestSummary:
    with without_heartbeat():
        settings = IngestSettings(root=root)
        found: BacktestSummary = module.backfill_events(str(root / "city.yaml"), period, settings)
    return found


def rows_of(found: BacktestSummary) -> list[dict[str, Any]]:
    return [chunk.row() for chunk in found.chunks]


def n_events(root: Path) -> int:
    return int(Lake(Workspace(root).lake("city")).dataset("events").count_rows())


def test_each_row_of_the_period_is_taken_in_once_and_each_event_predicted(root: Path) -> None:
    found, lake = backfilled(root), Lake(Workspace(root).lake("city"))
    rows, events = rows_of(found), lake.read("events")
    assert [row["start"][:10] for row in rows] == ["2020-09-20", "2020-09-27", "2020-10-04"]
    assert [row["seen"] for row in rows] == [True, False, False]
    assert [row["n_quarantined"] for row in rows] == [1, 1, 0]
    assert sum(row["n_new"] for row in rows) == len(events) > 200
    kept = ("n_new", "n_duplicates", "n_quarantined")
    assert all(row["n_read"] == sum(row[name] for name in kept) for row in rows)
    at = events.column("occurred_at").to_pylist()
    assert (min(at).date() >= PERIOD.start, max(at).date() < PERIOD.end) == (True, True)
    reasons = [why for each in lake.read("quarantine")["reasons"].to_pylist() for why in each]
    assert len(reasons) == 2
    assert any("cannot be read" in why for why in reasons)
    weights = [row["n_targets"] for row in rows[1:]]
    mean = sum(row["acc_10"] * n for row, n in zip(rows[1:], weights, strict=True)) / sum(weights)
    assert found.mean_metrics["acc_10"] == pytest.approx(mean)
    assert found.mean_metrics["n_targets"] == sum(weights)


def test_it_leaves_a_page_a_table_and_steps_in_mlflow(root: Path) -> None:
    found = backfilled(root)
    assert "city, replayed" in found.files.page.read_text(encoding="utf-8")
    table = pyarrow.csv.read_csv(found.files.table)
    assert table.column("acc_10").to_pylist() == [row["acc_10"] for row in rows_of(found)]
    store = open_store(Workspace(root).mlruns)
    logged = store.client.get_metric_history(found.run_id, "stream/ndcg_10")
    assert [(each.step, each.value) for each in logged] == [
        (row["chunk"], row["ndcg_10"]) for row in rows_of(found)
    ]


def test_killed_in_the_middle_it_goes_on_and_ends_the_same(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge, played = module.evaluate_chunk, list[int]()

    def dying(features: Path, chunk: Any, *more: Any) -> ChunkMetrics:
        played.append(chunk.number)
        if played == [1, 2]:
            raise KeyboardInterrupt
        return judge(features, chunk, *more)

    monkeypatch.setattr(module, "evaluate_chunk", dying)
    with pytest.raises(KeyboardInterrupt):
        backfilled(root)
    first = n_events(root)
    found = backfilled(root)
    assert played == [1, 2, 2, 3]
    assert rows_of(found)[1]["n_new"] == 0  # its rows were in before it died
    assert n_events(root) == first + rows_of(found)[2]["n_new"] > first
    undisturbed = backfilled(root, PERIOD.model_copy(update={"max_targets": 19_999}))
    assert sum(row["n_new"] for row in rows_of(undisturbed)) == 0
    for row, other in zip(rows_of(found), rows_of(undisturbed), strict=True):
        assert {**row, "n_new": 0, "n_duplicates": 0} == {**other, "n_new": 0, "n_duplicates": 0}


def test_twice_is_once_and_a_day_without_events_is_a_row_without_metrics(root: Path) -> None:
    backfilled(root)
    n, version = n_events(root), Lake(Workspace(root).lake("city")).version("events")
    backfilled(root)
    assert Lake(Workspace(root).lake("city")).version("events") == version
    later = BacktestConfig(start=date(2021, 1, 1), end=date(2021, 1, 2))
    (row,) = rows_of(backfilled(root, later))
    assert (row["n_read"], row["n_targets"], row["acc_10"]) == (1, 0, None)  # the unreadable row
    assert n_events(root) == n


def test_another_lake_begins_the_backfill_anew(root: Path) -> None:
    before, n = backfilled(root), n_events(root)
    shutil.rmtree(f"{Workspace(root).lake('city')}/events")
    after = backfilled(root)
    assert n_events(root) == n
    assert [row["n_new"] for row in rows_of(after)] == [row["n_new"] for row in rows_of(before)]
    assert after.run_id != before.run_id


def test_the_command_plans_and_refuses_clearly(root: Path) -> None:
    words = ["backfill", "--dataset", str(root / "city.yaml"), "--root", str(root)]
    told = ["--from", "2020-09-20", "--to", "2020-10-11", "--dry-run"]
    shown = CliRunner().invoke(app, [*words, *told, "--json"])
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.count('"seen": true') == 1
    assert not Lake(Workspace(root).lake("city")).exists("events")
    wrong = CliRunner().invoke(app, [*words, *told, "--chunk", "a week"])
    assert (wrong.exit_code, "such as 12h, 7d or 4w" in said(wrong.stderr)) == (1, True)
    back = CliRunner().invoke(app, [*words, "--from", "2020-10-11", "--to", "2020-09-20"])
    assert (back.exit_code, "must be later than the start" in said(back.stderr)) == (1, True)


def said(text: str) -> str:
    """Words on one line, however narrow the terminal."""
    return " ".join(text.split())
