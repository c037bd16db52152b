"""New users over HTTP: attributes of the request or of the lake, liked items, and a wish."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pytest
from fastapi.testclient import TestClient
from onnx import TensorProto, helper, numpy_helper

from chronotope.artifact.bundle import MODEL, write_bundle
from chronotope.content.embed_items import embed_modality
from chronotope.content.encoder import Modality
from chronotope.contracts.user_attributes import AttributeColumn
from chronotope.datasets.content_spec import TextContent
from chronotope.inference.recommend import recommend
from chronotope.inference.request import RecommendOptions
from chronotope.lake import Lake
from chronotope.runtime.workspace import Workspace
from chronotope.testing.recommender_suite import sample_catalog
from tests.inference.hand_made import DAY, LAST_S
from tests.serving.town import WIDTH, LocalClient, Town

TIME = "2020-09-13T18:00:00Z"
AGES = (AttributeColumn(name="age_group", first=1, levels=("young", "old")),)
QUIET = ("i05", "i06", "i07")


def add_attributes(town: Town) -> None:
    """The model of the town, with items of a high index for the old: slope x level."""
    folder = town.root / "versions" / "1"
    model = onnx.load(folder / MODEL)
    graph = model.graph
    level = helper.make_tensor_value_info("context", TensorProto.FLOAT, ["B", 1])
    graph.input.append(level)
    graph.initializer.append(numpy_helper.from_array(np.array(0.0, np.float32), "zero"))
    total = next(node for node in graph.node if node.output[0] == "item_scores")
    total.output[0] = "total"
    steps = (
        ("IsNaN", ["context"], "is_unknown"),
        ("Where", ["is_unknown", "zero", "context"], "level"),
        ("MatMul", ["level", "slope"], "level_scores"),
        ("Add", ["total", "level_scores"], "item_scores"),
    )
    where = list(graph.node).index(total) + 1
    for offset, (operator, inputs, output) in enumerate(steps):
        graph.node.insert(where + offset, helper.make_node(operator, inputs, [output]))
    onnx.save(model, folder / MODEL)
    about = {"name": "town", "dataset": "city", "data_version": "1", "history_len": WIDTH}
    about |= {"attributes": AGES}
    write_bundle(folder, sample_catalog(), trained_until_s=LAST_S - 30 * DAY, **about)


def lake_of(town: Town) -> Lake:
    return Lake(Workspace(town.root).lake("city"))


@pytest.fixture
def town(tmp_path: Path) -> Town:
    town = Town.build(tmp_path)
    add_attributes(town)
    lake_of(town).upsert_users(pa.table({"user_id": ["known"], "age_group": ["old"]}))
    return town


@pytest.fixture
def reading_town(town: Town) -> Town:
    """The town, its items with encoded texts."""
    ids = sample_catalog().items.ids.to_pylist()
    texts = [
        "quiet garden, lunch in the shade" if item in QUIET else f"loud bar with music, hall {n}"
        for n, item in enumerate(ids)
    ]
    lake = lake_of(town)
    lake.upsert_items(pa.table({"item_id": ids, "text": texts}))
    work = Workspace(town.root)
    embed_modality(
        Modality.TEXT,
        TextContent(columns=("text",)),
        lake,
        data_dir=town.root,
        cache_dir=work.cache(),
    )
    return town


@pytest.fixture
def client(town: Town) -> Iterator[TestClient]:
    with LocalClient(town.app(poll_s=3600)) as opened:
        yield opened


def ask(client: TestClient, **request: Any) -> Any:
    reply = client.post("/recommend", json={"request_time": TIME, "k": 3, **request})
    assert reply.status_code == 200, reply.text
    return reply.json()


def ids_of(reply: Any) -> list[str]:
    return [item["id"] for item in reply["items"]]


def test_attributes_of_a_request_change_the_first_answer(client: TestClient) -> None:
    unknown = ids_of(ask(client, user_id="new"))
    assert unknown == ["i00", "i01", "i02"]
    old = ask(client, user_id="new", attributes={"age_group": "old"})
    assert ids_of(old) == ["i14", "i13", "i12"]
    assert ids_of(ask(client, attributes={"age_group": "old"})) == ids_of(old)
    assert ids_of(ask(client, user_id="new", attributes={"age_group": "ancient"})) == unknown


def test_attributes_of_the_users_table_are_read_and_those_of_the_request_replace_them(
    client: TestClient,
) -> None:
    assert ids_of(ask(client, user_id="known")) == ["i14", "i13", "i12"]
    new_level = ask(client, user_id="known", attributes={"age_group": "ancient"})
    assert ids_of(new_level) == ["i00", "i01", "i02"]
    predicted = client.post("/predict", json={"user_id": "known", "request_time": TIME, "k": 3})
    assert ids_of(predicted.json()) == ["i14", "i13", "i12"]


def test_an_unknown_attribute_is_refused_with_the_known_ones(client: TestClient) -> None:
    reply = client.post("/recommend", json={"user_id": "new", "attributes": {"income": "high"}})
    assert reply.status_code == 422
    assert "age_group" in reply.json()["hint"]
    assert "income" in str(reply.json()["received"])


def test_liked_items_count_as_events_and_are_not_recommended(client: TestClient) -> None:
    reply = ask(client, user_id="new", liked_items=["i01", "nowhere"], k=15)
    assert "i01" not in ids_of(reply)
    assert len(reply["items"]) == 14
    assert reply["n_history"] == 0
    assert "1 of 2 liked items are unknown to the model." in reply["notes"]
    shares = {item["id"]: item["probability"] for item in reply["items"]}
    unliked = {item["id"]: item["probability"] for item in ask(client, k=15)["items"]}
    assert all(shares[item] < unliked[item] for item in shares)  # i01 took its share


def test_a_wish_finds_what_is_like_it(reading_town: Town) -> None:
    with LocalClient(reading_town.app(poll_s=3600)) as client:
        assert set(ids_of(ask(client, wish="Quiet places for <b>lunch</b>"))) == set(QUIET)
        assert ids_of(ask(client)) == ["i00", "i01", "i02"]
        reply = client.post("/recommend", json={"wish": "zzz qqq"})
        assert reply.status_code == 422
        assert "knows no word of the wish" in reply.json()["detail"]


def test_a_wish_without_texts_is_refused(client: TestClient) -> None:
    reply = client.post("/recommend", json={"wish": "quiet"})
    assert reply.status_code == 422
    assert "chronotope embed" in reply.json()["hint"]


@pytest.mark.parametrize(
    "request_fields",
    [
        {"wish": ""},
        {"wish": "  "},
        {"wish": "x" * 1_001},
        {"wish": 5},
        {"attributes": {"age_group": ["old"]}},
        {"attributes": "old"},
        {"liked_items": ["i01"] * 101},
        {"liked_items": [True]},
    ],
)
def test_malformed_fields_are_refused(
    client: TestClient, request_fields: dict[str, object]
) -> None:
    assert client.post("/recommend", json=request_fields).status_code == 422


def test_an_index_takes_likes_but_no_wish(town: Town) -> None:
    town.add_indexed("2")
    town.version = "2"
    with LocalClient(town.app(poll_s=3600)) as client:
        assert "i00" not in ids_of(ask(client, liked_items=["i00"]))
        reply = client.post("/recommend", json={"wish": "quiet"})
        assert reply.status_code == 422
        assert "index" in reply.json()["detail"]


def test_the_command_recommends_as_the_service(reading_town: Town) -> None:
    def command(user_id: str, **options: Any) -> list[str]:
        answer = recommend(
            reading_town.root,
            "city",
            user_id,
            datetime.fromisoformat(TIME).astimezone(UTC),
            options=RecommendOptions(k=3, **options),
            load=reading_town.load,
        )
        return [item.id for item in answer.items]

    assert command("known") == ["i14", "i13", "i12"]
    assert command("new", attributes={"age_group": "old"}) == ["i14", "i13", "i12"]
    assert command("new", liked_items=("i00",)) == ["i01", "i02", "i03"]
    assert set(command("new", wish="quiet lunch")) == set(QUIET)
