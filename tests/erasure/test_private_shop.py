"""A log with every privacy setting: what is stored of it, wherever it is stored."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from chronotope.cli.main import app
from chronotope.features.snapshot import load_features
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
    refused = ("ann-the-first", "tea", "yesterday", 48.2082, 16.3738, 1.0)
    shop.write(*rows(), refused, ("ann-the-first", "tea", "cut off"))
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
    for hidden in (*USERS, "@x.org", "48.2082", "16.3738"):
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
