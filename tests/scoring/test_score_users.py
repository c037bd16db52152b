"""All users' predictions: equal to the service's, only for those with news, all or nothing."""

import itertools
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from fastapi.testclient import TestClient

from chronotope.contracts.errors import ConfigError, NotEnoughData, StoreError, ValidationFailed
from chronotope.lake import Lake
from chronotope.runtime.workspace import Workspace
from chronotope.scoring.config import DEFAULT_K, ScoringProgress, ScoringResult
from chronotope.scoring.prediction_rows import PredictionRows
from chronotope.scoring.score_users import plan_scoring, score_users
from chronotope.scoring.staging import scoring_lock
from tests.inference.hand_made import LAST_S
from tests.scoring.crowd import N_ITEMS, N_USERS, add_events, build_town, config
from tests.serving.town import LocalClient, Town

AT = datetime.fromtimestamp(LAST_S + 3600, UTC)
N_ALL = N_USERS + 3  # and those of the hand-made lake
ITEM_FIELDS = ("title", "category", "lat", "lon", "reason")


@pytest.fixture
def town(tmp_path: Path) -> Town:
    return build_town(tmp_path)


def score(town: Town, **settings: object) -> ScoringResult:
    return score_users("city", config(town.root, **settings), load=town.load)


def stored(town: Town) -> pa.Table:
    return Lake(Workspace(town.root).lake("city")).read("predictions")


def lists(town: Town) -> dict[str, list[dict[str, Any]]]:
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in stored(town).sort_by([("user_id", "ascending"), ("rank", "ascending")]).to_pylist():
        rows.setdefault(row["user_id"], []).append(row)
    return rows


def ask(client: TestClient, path: str, **fields: object) -> Any:
    response = client.post(path, json={"request_time": AT.isoformat(), **fields})
    assert response.status_code == 200, response.text
    return response.json()


def assert_served_alike(
    client: TestClient, town: Town, *, exactly: bool, n_users: int = N_ALL, **options: object
) -> None:
    tolerance = 0.0 if exactly else 1e-5
    rows = lists(town)
    assert len(rows) == n_users
    assert rows["u00"][0]["next_event_median_h"] is not None
    for user_id, of in rows.items():
        shown = ask(client, "/recommend", user_id=user_id, k=5, explore=False, **options)
        assert [row["item_id"] for row in of] == [item["id"] for item in shown["items"]]
        for row, item in zip(of, shown["items"], strict=True):
            assert {n: row[n] for n in ITEM_FIELDS} == {n: item[n] for n in ITEM_FIELDS}
            assert row["probability"] == pytest.approx(item["probability"], rel=tolerance, abs=0)
        counts = (of[0]["n_history"], of[0]["n_unknown_items"], of[0]["model_version"])
        assert counts == (shown["n_history"], shown["n_unknown_items"], shown["version"])
        predicted = ask(client, "/predict", user_id=user_id)["time_forecast"]
        for name in ("median_h", "low_h", "high_h"):
            hours = None if predicted is None else predicted[name]
            row_hours = of[0][f"next_event_{name}"]
            assert row_hours == (hours if exactly or hours is None else pytest.approx(hours, 1e-5))


@pytest.mark.parametrize("batch", [1, 7, 64])
@pytest.mark.parametrize("new_only", [False, True])
def test_the_table_equals_the_service(town: Town, batch: int, new_only: bool) -> None:
    result = score(town, scored_at=AT, batch_users=batch, new_only=new_only)
    assert (result.n_scored, result.table_version) == (N_ALL, 0)
    with LocalClient(town.app(poll_s=3600)) as client:
        assert_served_alike(client, town, exactly=batch == 1, exclude_seen=new_only)
    assert all(row["is_new"] for of in lists(town).values() for row in of) or not new_only


def test_posted_events_count_before_they_are_ingested(town: Town) -> None:
    posted = {
        "kind": "event",
        "key": "k1",
        "user_id": "v01",
        "item_id": "i07",
        "occurred_at": datetime.fromtimestamp(LAST_S, UTC).isoformat(),
    }
    score(town, scored_at=AT)
    with LocalClient(town.app(poll_s=3600)) as client:
        assert client.post("/events", json=posted).json()["n_new"] == 1
        assert client.post("/events", json=posted | {"key": "k2", "user_id": "new"}).is_success
        assert score(town, scored_at=AT).n_scored == 2
        assert_served_alike(client, town, exactly=False, n_users=N_ALL + 1)
        assert score(town, scored_at=AT).n_scored == 0


def test_lists_with_rarer_items_are_not_ordered_by_probability(town: Town) -> None:
    score(town, tail_exposure=10.0, k=15)
    rises = [
        later["probability"] > earlier["probability"]
        for rows in lists(town).values()
        for earlier, later in itertools.pairwise(rows)
    ]
    assert any(rises)
    score(town, k=15)
    assert all(
        later["probability"] <= earlier["probability"]
        for rows in lists(town).values()
        for earlier, later in itertools.pairwise(rows)
    )


def test_an_indexed_model_has_no_probabilities(town: Town) -> None:
    town.add_indexed("2")
    town.version = "2"
    score(town, scored_at=AT, batch_users=16)
    with LocalClient(town.app(poll_s=3600)) as client:
        for user_id, of in lists(town).items():
            shown = ask(client, "/recommend", user_id=user_id, k=5)["items"]
            assert [row["item_id"] for row in of] == [item["id"] for item in shown]
            assert {row["probability"] for row in of} == {None}


def test_only_users_with_news_are_scored(town: Town) -> None:
    first, before = score(town), lists(town)
    assert (first.n_scored, first.n_unchanged) == (N_ALL, 0)
    again = score(town)
    assert (again.n_scored, again.n_unchanged, again.table_version) == (0, N_ALL, None)
    add_events(town.root, ["v03", "brand new"], seed=5)
    third, after = score(town), lists(town)
    assert (third.n_scored, third.n_unchanged, third.table_version) == (2, N_ALL - 1, 1)
    assert {u for u in after if after[u] != before.get(u)} == {"v03", "brand new"}
    assert score(town, rescore_all=True).n_scored == N_ALL + 1


@pytest.mark.parametrize(
    "settings", [{"k": 6}, {"new_only": True}, {"scored_at": AT}, {"rescore_all": True}]
)
def test_other_settings_score_everybody(town: Town, settings: dict[str, object]) -> None:
    score(town)
    assert score(town, **settings).n_scored == N_ALL


def test_another_model_or_catalogue_scores_everybody(town: Town) -> None:
    score(town)
    town.add("2", boost=1.0)
    town.version = "2"
    assert score(town).n_scored == N_ALL
    assert {row["model_version"] for of in lists(town).values() for row in of} == {"2"}
    titles = pa.table({"item_id": ["i01"], "title": ["Renamed"]})
    Lake(Workspace(town.root).lake("city")).upsert_items(titles)
    assert score(town).n_scored == N_ALL


def test_users_who_left_the_log_leave_the_table(town: Town) -> None:
    score(town)
    lake = Lake(Workspace(town.root).lake("city"))
    DeltaTable(lake.address("events")).delete("user_id = 'v05'")
    result = score(town)
    assert (result.n_scored, result.n_removed) == (0, 1)
    assert "v05" not in lists(town)
    assert len(lists(town)) == N_ALL - 1


def test_listed_users_are_scored_and_the_others_stay(town: Town, tmp_path: Path) -> None:
    score(town)
    users = tmp_path / "users.txt"
    users.write_bytes(b"\xef\xbb\xbfv02\r\nv01\r\n\r\nv01\n")  # BOM, both newlines, twice
    result = score(town, users_file=users, k=3)
    assert (result.n_scored, result.n_removed) == (2, 0)
    lengths = {user_id: len(of) for user_id, of in lists(town).items()}
    assert {u for u, n in lengths.items() if n == 3} == {"v01", "v02"}
    assert len(lengths) == N_ALL


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"v01\nnobody\n'v02'\n", "2 ids of the users file are not in the log"),
        (b"user_id\nv01\n", "'user_id'"),
        (b" v01\n", "remove the blanks"),
        (b"\n\n", "contains no id"),
        (b"v01\xff\n", "UTF-8"),
    ],
)
def test_a_bad_users_file_is_refused(
    town: Town, tmp_path: Path, content: bytes, message: str
) -> None:
    users = tmp_path / "users.txt"
    users.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        score(town, users_file=users)
    assert not Lake(Workspace(town.root).lake("city")).exists("predictions")


def test_unknown_ids_can_be_left_out(town: Town, tmp_path: Path) -> None:
    users = tmp_path / "users.txt"
    users.write_text("v01\nnobody\n")
    result = score(town, users_file=users, skip_unknown=True)
    assert (result.n_scored, result.n_unknown) == (1, 1)


def test_a_catalogue_smaller_than_the_default_is_listed_whole(town: Town) -> None:
    assert N_ITEMS < DEFAULT_K
    score(town, k=DEFAULT_K)
    assert max(map(len, _lists(stored(town)).values())) == N_ITEMS


def _lists(predictions: pa.Table) -> dict[str, list[str]]:
    lists: dict[str, list[str]] = {}
    columns = (predictions.column(name).to_pylist() for name in ("user_id", "item_id"))
    for user, item in zip(*columns, strict=True):
        lists.setdefault(user, []).append(item)
    return lists


def test_clear_errors(town: Town, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"Choose a k of at most {N_ITEMS}"):
        score(town, k=N_ITEMS + 1)
    with pytest.raises(ConfigError, match=r"no predictions\.json in"):
        score(town, suites=tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="No such dataset"):
        score_users("nowhere", config(town.root), load=town.load)
    with pytest.raises(StoreError, match="no champion yet"):
        score_users("city", config(town.root))
    with (
        scoring_lock(Workspace(town.root).scoring("city"), "city"),
        pytest.raises(StoreError, match="Another run is scoring"),
    ):
        score(town)
    DeltaTable(Lake(Workspace(town.root).lake("city")).address("events")).delete()
    with pytest.raises(NotEnoughData, match="no user to score"):
        score(town)


def test_rows_that_fail_the_suite_replace_nothing(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    score(town)
    before = stored(town)
    table = PredictionRows.table

    def doubled(*args: Any) -> pa.Table:
        rows = table(*args)
        column = rows.schema.get_field_index("probability")
        return rows.set_column(column, "probability", pa.array([2.0] * len(rows)))

    monkeypatch.setattr(PredictionRows, "table", doubled)
    with pytest.raises(ValidationFailed, match=r"a probability lies in \(0, 1\]"):
        score(town, rescore_all=True)
    assert stored(town) == before


def test_the_installed_suite_is_found_from_any_folder(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "expectations").mkdir()
    (tmp_path / "expectations" / "events.json").write_text("{}")  # of an earlier version
    assert score(town, suites=Path("expectations")).n_scored == N_ALL


def test_a_dry_run_counts_and_writes_nothing(town: Town) -> None:
    planned = plan_scoring("city", config(town.root), load=town.load)
    assert (planned.n_scored, planned.table_version) == (N_ALL, None)
    assert not Lake(Workspace(town.root).lake("city")).exists("predictions")


def test_the_progress_ends_at_all_users(town: Town) -> None:
    reports: list[ScoringProgress] = []
    score_users("city", config(town.root), on_progress=reports.append, load=town.load)
    assert (reports[0].n_done, reports[-1].n_done) == (0, N_ALL)
    assert reports[-1].users_per_s > 0


def test_the_commit_tells_its_origin_and_rows_lie_sorted(town: Town) -> None:
    result = score(town)
    table = DeltaTable(Lake(Workspace(town.root).lake("city")).address("predictions"))
    commit = table.history(1)[0]
    assert commit["model_version"] == "1"
    assert commit["data_version"] == result.data_version
    add_events(town.root, ["v50", "v02"], seed=9)
    score(town)
    keys = stored(town).select(["user_id", "rank"]).to_pylist()
    assert keys == sorted(keys, key=lambda row: (row["user_id"], row["rank"]))
