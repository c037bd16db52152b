"""A lake remembers its settings and the fingerprints of its keys, and refuses other ones."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from chronotope.contracts.errors import ConfigError
from chronotope.contracts.schemas import EVENTS
from chronotope.lake import Lake
from chronotope.lake.privacy import read_privacy, read_stored_users, record_privacy
from chronotope.privacy import PrivacySettings, PseudonymSettings

FIRST, SECOND = "a" * 32, "b" * 32
PSEUDONYMS = PrivacySettings(pseudonyms=PseudonymSettings())
VARIABLE = PseudonymSettings().variable


def add_event(lake: Lake) -> None:
    row = {"event_id": "1", "user_id": "ann", "item_id": "tea", "event_type": "buy"}
    row |= {"occurred_at": datetime(2024, 1, 1, tzinfo=UTC)}
    lake.merge_events(pa.Table.from_pylist([row], schema=EVENTS))


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    monkeypatch.setenv(VARIABLE, FIRST)
    return Lake(tmp_path / "shop")


def test_settings_are_recorded_once(lake: Lake) -> None:
    assert read_privacy(lake).settings == PrivacySettings()
    recorded = record_privacy(lake, PSEUDONYMS, "shop")
    version = lake.version("privacy")
    assert record_privacy(lake, PSEUDONYMS, "shop") == recorded == read_privacy(lake)
    assert lake.version("privacy") == version
    assert FIRST.encode() not in b"".join(
        path.read_bytes() for path in Path(lake.root).rglob("*") if path.is_file()
    )


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("", "missing"),
        (SECOND, "not those of its lake.*Set the keys that the lake was made with"),
        (f"{FIRST},{SECOND}", "chronotope pseudonyms rotate shop"),
    ],
    ids=["none", "other", "newer"],
)
def test_other_keys_are_refused(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, value: str, problem: str
) -> None:
    record_privacy(lake, PSEUDONYMS, "shop")
    add_event(lake)
    monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(ConfigError, match=problem):
        record_privacy(lake, PSEUDONYMS, "shop")
    with pytest.raises(ConfigError, match=problem):
        read_stored_users(lake, "shop")


def test_ids_and_pseudonyms_are_not_mixed(lake: Lake) -> None:
    record_privacy(lake, PrivacySettings(), "shop")
    add_event(lake)
    with pytest.raises(ConfigError, match=r"holds the ids of its users.*new project root"):
        record_privacy(lake, PSEUDONYMS, "shop")


def test_pseudonyms_are_not_given_up_by_mistake(lake: Lake) -> None:
    record_privacy(lake, PSEUDONYMS, "shop")
    add_event(lake)
    with pytest.raises(ConfigError, match=r"holds pseudonyms.*Restore"):
        record_privacy(lake, PrivacySettings(), "shop")
