"""A snapshot holds the attributes of its users, in the order of its ids."""

from pathlib import Path

import pyarrow as pa
import pytest

from chronotope.contracts.errors import SourceError
from chronotope.features.build import USER_ATTRIBUTES, build_features
from chronotope.features.snapshot import load_features
from chronotope.features.sources import FeaturesConfig

N_USERS = 20
EVENTS = pa.table(
    {
        "event_id": [f"e{n}" for n in range(N_USERS)],
        "user_id": [f"u{n:02d}" for n in range(N_USERS)],
        "item_id": ["tea"] * N_USERS,
        "event_type": ["view"] * N_USERS,
        "occurred_at": pa.array(range(N_USERS), pa.timestamp("us", tz="UTC")),
    }
)
USERS = pa.table(
    {
        "user_id": ["stranger", *(f"u{n:02d}" for n in reversed(range(N_USERS)))],
        "region": ["south", *("north" if n < 12 else "south" for n in reversed(range(N_USERS)))],
    }
)


def test_attributes_follow_the_users_of_the_snapshot(tmp_path: Path) -> None:
    built = build_features(EVENTS, None, config=FeaturesConfig(), out=tmp_path, users=USERS)
    _, catalog = load_features(built.path)
    attributes = catalog.user_attributes
    assert attributes is not None
    assert [column.name for column in attributes.columns] == ["region"]
    assert attributes.codes[:, 0].tolist() == [0, *[1] * 12, *[2] * 8]
    plain = build_features(EVENTS, None, config=FeaturesConfig(), out=tmp_path)
    assert plain.digest != built.digest
    assert load_features(plain.path)[1].user_attributes is None


def test_changed_attributes_are_noticed(tmp_path: Path) -> None:
    built = build_features(EVENTS, None, config=FeaturesConfig(), out=tmp_path, users=USERS)
    (built.path / USER_ATTRIBUTES).write_bytes(b"damaged")
    with pytest.raises(SourceError, match="differ from their checksums"):
        load_features(built.path)
