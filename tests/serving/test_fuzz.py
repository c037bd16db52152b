"""Whatever is sent, the service answers what its document says, and never with a 5xx."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chronotope.experiments.experiment import Experiment
from tests.serving.town import LocalClient, Town

TEXT = st.text(max_size=8) | st.sampled_from(
    ["u00", "i01", "2020-09-13T18:00Z", "event", "x" * 2000]
)
NUMBER = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-1, 12)
LEAF = st.none() | st.booleans() | NUMBER | TEXT
ANYTHING = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)
)


def values_of(schema: dict[str, Any], document: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values of a schema, now and then of another kind."""
    return st.one_of(_values(schema, document), _values(schema, document), ANYTHING)


def _values(schema: dict[str, Any], document: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return _values(document["components"]["schemas"][name], document)
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return st.one_of([_values(one, document) for one in schema[several]])
    if "const" in schema:
        return st.just(schema["const"])
    return _of_kind(schema, document)


def _of_kind(schema: dict[str, Any], document: dict[str, Any]) -> st.SearchStrategy[Any]:
    kind = schema.get("type")
    if schema.get("format") == "date-time":
        aware = st.datetimes(timezones=st.timezones()).map(lambda moment: moment.isoformat())
        return aware | st.just("2020-09-13T18:00:00Z")
    if kind == "object":
        named = "properties" in schema
        return _objects(schema, document) if named else st.dictionaries(TEXT, NUMBER, max_size=3)
    if kind == "array":
        return st.lists(values_of(schema["items"], document), max_size=4)
    return {"string": TEXT, "null": st.none(), "boolean": st.booleans()}.get(str(kind), NUMBER)


def _objects(schema: dict[str, Any], document: dict[str, Any]) -> st.SearchStrategy[Any]:
    required = set(schema.get("required", ()))
    parts = {name: values_of(of, document) for name, of in schema["properties"].items()}
    optional = {name: of for name, of in parts.items() if name not in required}
    return st.fixed_dictionaries({name: parts[name] for name in required}, optional=optional)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    town = Town.build(tmp_path_factory.mktemp("root"))
    town.add("2", boost=-1.0)
    arms: list[dict[str, Any]] = [
        {"name": "plain", "share": 0.5},
        {"name": "drawn", "share": 0.5, "model": "2", "explore": {"share": 0.5, "kind": "softmax"}},
        {"name": "unseen", "share": 0.5, "model": "2", "mode": "shadow"},
    ]
    experiment = Experiment.model_validate({"name": "fuzz", "arms": arms})
    with LocalClient(town.app(poll_s=3600, experiment=experiment)) as opened:
        yield opened


@pytest.fixture(scope="module")
def document(client: TestClient) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/openapi.json").json()
    return found


@pytest.mark.parametrize("path", ["/recommend", "/predict", "/events"])
def test_posts(client: TestClient, document: dict[str, Any], path: str) -> None:
    told = document["paths"][path]["post"]
    schema = told["requestBody"]["content"]["application/json"]["schema"]
    statuses = set()

    @settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
    @given(body=values_of(schema, document))
    def send(body: Any) -> None:
        reply = client.post(path, json=body)
        assert reply.status_code < 500, (body, reply.text)
        assert str(reply.status_code) in told["responses"], (body, reply.text)
        assert isinstance(reply.json(), dict)
        statuses.add(reply.status_code)

    send()
    assert statuses >= {200, 422}  # it is neither refused nor accepted throughout


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(given_words=st.dictionaries(st.sampled_from(["user_id", "item_id", "at", "k", "x"]), TEXT))
def test_explanations(client: TestClient, given_words: dict[str, str]) -> None:
    reply = client.get("/explain", params=given_words)
    assert reply.status_code in {200, 422}, reply.text


def test_unknown_addresses_and_methods(client: TestClient, tmp_path: Path) -> None:
    codes = [client.get("/nowhere").status_code, client.delete("/events").status_code]
    assert codes == [404, 405]
