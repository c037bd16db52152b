"""Promotions of the lake and posted ones reach the answers of the service at once."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from fastapi.testclient import TestClient

from chronotope.artifact.bundle import read_vocabulary
from chronotope.artifact.onnx_recommender import ModelOutput, OnnxRecommender
from chronotope.contracts.item_context import ItemContextColumn
from chronotope.contracts.queries import Queries
from chronotope.contracts.schemas import ITEM_CONTEXT
from chronotope.inference.history import UserHistory, history_to_queries
from chronotope.inference.item_context_reader import ItemContextReader
from chronotope.lake import Lake
from chronotope.lake.posted import PostedContextRow, PostedItemContext
from chronotope.lake.table_schemas import ITEM_CONTEXT_TABLE
from chronotope.registry.champion import Champion
from chronotope.runtime.workspace import Workspace
from chronotope.serving.api.app import create_app
from chronotope.serving.settings import ServeSettings
from tests.serving.town import LocalClient, Town

COLUMNS = (
    ItemContextColumn(name="promo", first=1, levels=("a", "b"), default="no"),
    ItemContextColumn(name="price", first=3, levels=("low", "high"), edges=(2.0,), default=1.0),
)
_NO_IDX = np.zeros(0, np.int32)
NO_HISTORY = UserHistory(_NO_IDX, _NO_IDX, np.zeros(0, np.int64), _NO_IDX)
AT = datetime(2020, 9, 13, 18, 26, 40, tzinfo=UTC)  # six hours after the last event


class Promoted(OnnxRecommender):
    """Adds the sum of an item's levels to its score; its graph reads none."""

    def answer(self, queries: Queries) -> ModelOutput:
        output = super().answer(queries)
        scores = output.item_scores.copy()
        if queries.context_item_idx is not None and queries.context_levels is not None:
            for row, items in enumerate(queries.context_item_idx):
                np.add.at(scores[row], items, 10.0 * queries.context_levels[row].sum(-1))
        return replace(output, item_scores=scores)


@pytest.fixture
def client(town: Town) -> Iterator[TestClient]:
    def load(root: Path, _: str) -> Champion:
        folder = root / "versions" / "1"
        opened = OnnxRecommender.load(folder)
        manifest = opened.manifest.model_copy(update={"item_context": COLUMNS})
        return Champion("1", Promoted(opened.session, manifest), read_vocabulary(folder), folder)

    settings = ServeSettings(dataset="city", root=town.root, poll_s=3600)
    add_rows(town.root, [("i07", "", AT.replace(hour=12), AT.replace(hour=20), "a", 1.0)])
    app = create_app(settings, load=load, champion_version=lambda *_: "1")
    with LocalClient(app) as opened:
        yield opened


def add_rows(root: Path, rows: list[tuple[Any, ...]]) -> None:
    schema = pa.schema([*ITEM_CONTEXT, ("promo", pa.string()), ("price", pa.float64())])
    columns = [list(column) for column in zip(*rows, strict=True)]
    table = pa.table(
        [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)],
        schema=schema,
    )
    Lake(Workspace(root).lake("city")).upsert_keyed(ITEM_CONTEXT_TABLE, table)


def first(client: TestClient, at: datetime = AT) -> str:
    body = {"user_id": "u00", "request_time": at.isoformat(), "k": 1, "explore": False}
    reply = client.post("/recommend", json=body)
    assert reply.status_code == 200, reply.text
    return str(reply.json()["items"][0]["id"])


def post(client: TestClient, status: int = 200, **fields: Any) -> dict[str, Any]:
    row = {
        "item_id": "i03",
        "valid_from": AT.replace(hour=13).isoformat(),
        "values": {"promo": "b"},
    }
    reply = client.post("/item-context", json=row | fields)
    assert reply.status_code == status, reply.text
    return dict(reply.json())


def test_a_row_of_the_lake_counts_while_it_is_valid(client: TestClient) -> None:
    assert first(client) == "i07"
    assert first(client, AT.replace(hour=21)) != "i07"


def test_a_posted_row_counts_at_once_and_not_before_its_start(client: TestClient) -> None:
    assert first(client) == "i07"  # and is cached
    assert post(client) == {"n_received": 1, "n_unknown_items": 0}
    assert first(client) == "i03"
    assert (
        post(
            client,
            valid_from=AT.replace(hour=19).isoformat(),
            item_id="i05",
            values={"promo": "b", "price": 5.0},
        )["n_received"]
        == 1
    )
    assert first(client) == "i03"
    assert first(client, AT.replace(hour=19)) == "i05"


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"values": {"moon": "full"}}, "no such columns"),
        ({"values": {"promo": 1.0}}, "has to be a text"),
        ({"values": {"price": "cheap"}}, "has to be a number"),
        ({"valid_until": "2020-01-01T00:00:00Z"}, "valid_until must be after valid_from"),
    ],
    ids=["column", "text", "number", "end"],
)
def test_a_row_that_cannot_be_read_is_refused(
    client: TestClient, fields: dict[str, Any], problem: str
) -> None:
    assert problem in str(post(client, 422, **fields))
    assert first(client) == "i07"


def test_a_row_of_an_unknown_item_is_counted(client: TestClient) -> None:
    assert post(client, item_id="never seen")["n_unknown_items"] == 1


def test_a_champion_without_item_context_says_so(town: Town) -> None:
    with LocalClient(town.app(poll_s=3600)) as plain:
        assert "Its columns are: none" in str(post(plain, 422))


def test_the_rows_of_a_day_are_read_before_a_request_needs_them(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_rows(town.root, [("i07", "", AT.replace(hour=12), AT.replace(hour=20), "a", 1.0)])
    lake = Lake(Workspace(town.root).lake("city"))
    vocabulary = read_vocabulary(town.root / "versions" / "1")
    with closing(PostedItemContext(town.root / "posted.db")) as posted:
        version = lake.table_version(ITEM_CONTEXT_TABLE)
        reader = ItemContextReader(
            lake, version, posted, COLUMNS, vocabulary.items, vocabulary.places
        )
        reader.prepare(AT)
        monkeypatch.setattr(Lake, "dataset", lambda *_: pytest.fail("The lake was read again"))
        queries = history_to_queries(NO_HISTORY, 0, AT)
        assert promoted(reader, queries) == [int(vocabulary.items.index(["i07"])[0])]
        row = PostedContextRow("i03", "", AT - timedelta(hours=1), None, {"promo": "b"})
        posted.append([row])
        assert len(promoted(reader, queries)) == 2


def promoted(reader: ItemContextReader, queries: Queries) -> list[int]:
    items = reader.add_rows(queries).context_item_idx
    assert items is not None
    return items[0].tolist()
