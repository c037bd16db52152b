"""A log with every privacy setting: what is stored of it, wherever it is stored."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from chronotope.cli.main import app
from chronotope.datasets.loading import load_spec
from chronotope.datasets.normalise import normalise
from chronotope.features.snapshot import load_features
from chronotope.ingestion import payload_rows
from chronotope.lake import Lake
from chronotope.lake.privacy import read_stored_users
from chronotope.privacy import PseudonymSettings, is_pseudonym
from tests.behaviour.shop import YAML, Shop

pytestmark = pytest.mark.slow

VARIABLE = PseudonymSettings().variable
PRIVACY = """
users:
  format: csv
  path: users.csv
  columns: {user_id: user}
  attributes: {mail: mail, illness: illness, region: region}
privacy:
  pseudonyms: {}
  h3_resolution: 6
  time_resolution_min: 60
  opt_out_file: objections.txt
  columns: {mail: identifier, illness: sensitive, region: quasi_identifier}
"""
USERS = ("ann-the-first", "bob-the-builder", "cleo-of-egypt", "dora-explorer")
OBJECTS = "dora-explorer"


def rows() -> list[tuple[object, ...]]:
    return [
        (user, ("tea", "rye")[day % 2], f"2024-01-{day:02d}T10:37:12Z", 48.2082, 16.3738, 1.0)
        for day in range(3, 9)
        for user in USERS
    ]


class PrivateShop(Shop):
    """The shop's YAML with a users table and a privacy block."""

    def call(self, command: str, *words: object, kind: str = "csv") -> Any:
        spec = self.folder / "shop.yaml"
        spec.write_text(YAML.format(folder=self.folder, format=kind) + PRIVACY, encoding="utf-8")
        told = [command, spec, "--root", self.root, *words]
        return CliRunner().invoke(app, [str(word) for word in told])


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PrivateShop:
    monkeypatch.setenv(VARIABLE, "k" * 32)
    shop = PrivateShop(tmp_path)
    refused = ("ann-the-first", "tea", "3 Jan 2024 10:37", 48.2082, 16.3738, 1.0)
    shop.write(*rows(), refused, ("ann-the-first", "tea", "2024-01-03T10:37:12Z"))
    lines = ["user,mail,illness,region", *(f"{user},{user}@x.org,flu,north" for user in USERS)]
    (tmp_path / "users.csv").write_text("\n".join(lines))
    (tmp_path / "objections.txt").write_text(f"{OBJECTS}\n")
    return shop


def stored_text(lake: Lake) -> str:
    """Every value of every table, as text."""
    names = ("events", "users", "quarantine")
    return "".join(str(lake.read(name).to_pylist()) for name in names if lake.exists(name))


def test_nothing_exact_is_stored(shop: PrivateShop) -> None:
    counts = shop.ingest()
    assert counts["dropped"] == {"opted out": 6}
    assert (counts["n_good"], counts["n_quarantined"]) == (18, 2)
    text = stored_text(shop.lake)
    for hidden in (*USERS, "@x.org", "48.2082", "16.3738", "10:37", ":12", "Jan"):
        assert hidden not in text
    files = [path for path in (shop.root / "data").rglob("*") if path.is_file()]
    for user in USERS:
        assert not [path for path in files if user.encode() in path.read_bytes()]
    events = shop.lake.read("events")
    assert all(map(is_pseudonym, events["user_id"].to_pylist()))
    assert {str(time)[11:16] for time in events["occurred_at"].to_pylist()} == {"10:00"}
    again = shop.ingest()  # the same ids, so nothing is new
    assert again["n_duplicates"] == 18
    features = load_features(Path(again["features"]))[1]
    assert features.user_attributes is None or {
        column.name for column in features.user_attributes.columns
    } <= {"region"}


def test_refused_rows_are_coarse_and_can_be_read_again(shop: PrivateShop) -> None:
    moment = "2024-02-01T10:37:12Z"
    whole, later = ("ann-the-first", "tea", moment), ("ann-the-first", "", moment)
    shop.write((*whole, 48.2082, 16.3738, 1.0), (*later, 48.2082, "east", 1.0),
               ("bob-the-builder", "tea", moment, 48.2082, "east", 1.0))  # fmt: skip
    counts = shop.ingest()
    assert (counts["n_good"], counts["n_quarantined"]) == (1, 2)
    text = stored_text(shop.lake)
    assert "48.2082" not in text
    assert "10:37" not in text
    batch = payload_rows(shop.lake.read("quarantine")["payload"].to_pylist())
    assert set(batch["occurred_at"].to_pylist()) == {"2024-02-01T10:00:00Z"}
    assert set(batch["lon"].to_pylist()) == {"xxxx"}
    assert set(batch["lat"].to_pylist()) == {None}
    repaired = batch.set_column(batch.column_names.index("item_id"), "item_id", [["tea", "tea"]])
    repaired = repaired.set_column(batch.column_names.index("lon"), "lon", [[None, None]])
    spec = load_spec(str(shop.folder / "shop.yaml"))
    once = set(normalise(spec, repaired).rows["event_id"].to_pylist())
    stored = set(shop.lake.read("events")["event_id"].to_pylist())
    assert len(once) == 2
    assert once & stored == stored  # the repaired row of Ann is the event that she has


@pytest.mark.parametrize("setting", ["h3_resolution: 6", "time_resolution_min: 60"])
def test_a_refused_line_is_not_stored(tmp_path: Path, setting: str) -> None:
    class CoarseShop(Shop):
        def call(self, command: str, *words: object, kind: str = "csv") -> Any:
            spec = self.folder / "shop.yaml"
            yaml = YAML.format(folder=self.folder, format=kind) + f"privacy: {{{setting}}}\n"
            spec.write_text(yaml, encoding="utf-8")
            told = [command, spec, "--root", self.root, *words]
            return CliRunner().invoke(app, [str(word) for word in told])

    shop = CoarseShop(tmp_path)
    shop.write(*rows(), ("ann-the-first", "tea", "2024-01-03T11:59:58Z"))
    assert shop.ingest()["n_quarantined"] == 1
    assert "59" not in str(shop.lake.read("quarantine")["payload"].to_pylist())


def test_callers_keep_their_ids(shop: PrivateShop) -> None:
    shop.ingest()
    users = read_stored_users(shop.lake, "shop")
    assert shop.forget("ann-the-first", "--dataset", "shop", "--yes").exit_code == 0
    stored = set(shop.lake.read("events")["user_id"].to_pylist())
    assert stored == {users.stored_id(name) for name in ("bob-the-builder", "cleo-of-egypt")}
    assert shop.ingest()["dropped"] == {"erased user": 7, "opted out": 6}
    out = CliRunner().invoke(
        app, ["opt-out", "bob-the-builder", "--dataset", "shop", "--root", str(shop.root), "--json"]
    )
    assert json.loads(out.stdout) == {"dry_run": False, "n_changed": 1, "n_listed": 2}
    log, _ = load_features(Path(shop.ingest()["features"]))
    assert len(log.user_idx) == 6  # Cleo's alone
