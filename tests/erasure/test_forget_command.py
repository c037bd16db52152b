"""``chronotope forget`` on an ingested log: what is left equals a log without the user."""

import json
from pathlib import Path

import pytest

from chronotope.features.snapshot import load_features
from tests.behaviour.shop import GOOD, Shop

pytestmark = pytest.mark.slow

MORE = tuple(
    (user, item, f"2024-01-{day:02d}T10:00:00Z", 48.2, 16.4, 1.0)
    for day in range(3, 9)
    for user, item in (("ann-the-first", "tea"), ("bob", "rye"), ("cleo", "tea"))
)
ERASED = "ann-the-first"


def folders(tmp_path: Path) -> tuple[Shop, Shop]:
    shops = Shop(tmp_path / "erased"), Shop(tmp_path / "without")
    for shop in shops:
        shop.folder.mkdir()
    return shops


def test_what_is_left_is_the_log_of_the_others(tmp_path: Path) -> None:
    erased, without = folders(tmp_path)
    erased.write(*GOOD, *MORE)
    assert erased.ingest()["n_good"] == 21
    words = ("--dataset", "shop", "--yes", "--json")
    done = erased.forget(ERASED, *words)
    assert done.exit_code == 0, done.output
    certificate = json.loads(done.stdout)
    assert {store["store"]: store["n_removed"] for store in certificate["stores"]}[
        "lake: events"
    ] == 6
    again = erased.ingest()  # of the same file
    assert (again["n_read"], again["n_good"], again["dropped"]) == (21, 15, {"erased user": 6})
    without.write(*GOOD, *(row for row in MORE if row[0] != ERASED))
    known = without.ingest()
    log, catalog = load_features(Path(again["features"]))
    wanted_log, wanted_catalog = load_features(Path(known["features"]))
    for name in ("user_idx", "item_idx", "occurred_s", "place_idx"):
        assert getattr(log, name).tolist() == getattr(wanted_log, name).tolist()
    assert catalog.items.ids.equals(wanted_catalog.items.ids)


def test_nothing_is_erased_without_a_yes(shop: Shop) -> None:
    shop.write(*GOOD)
    shop.ingest()
    assert shop.forget("ann", "--dataset", "shop").exit_code != 0
    assert shop.lake.dataset("events").count_rows() == 3
