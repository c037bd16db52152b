"""Workers over one log and one Redis: what one is told or has answered, the others know."""

import logging
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from chronotope.contracts.errors import ConfigError, StoreError
from chronotope.serving.state.redis_cache import RedisCache, url_without_credentials
from chronotope.serving.state.response_cache import ResponseCache
from tests.serving.redis_server import PASSWORD, RedisServer, free_port, running_redis
from tests.serving.test_answers import AT, ask, event, ids, metric
from tests.serving.test_swap import look
from tests.serving.town import LocalClient, Town

QUESTION = {"user_id": "u00", "request_time": AT}


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with running_redis(tmp_path) as server:
        yield server


@contextmanager
def workers(town: Town, n: int = 2, **settings: Any) -> Iterator[list[TestClient]]:
    """Services that look at nothing by themselves."""
    with ExitStack() as stack:
        made = [LocalClient(town.app(poll_s=3600, **settings)) for _ in range(n)]
        yield [stack.enter_context(client) for client in made]


def found(client: TestClient, cache: str) -> float:
    return metric(client, "chronotope_cache_lookups_total", cache=cache, result="hit")


def test_an_event_told_to_one_counts_for_all_at_once_and_once(town: Town) -> None:
    with workers(town) as (one, other):
        assert ask(other, **QUESTION)["n_history"] == 3
        assert one.post("/events", json=event("a", "i09")).json()["n_new"] == 1
        assert ids(ask(other, **QUESTION))[0] == "i09"
        assert other.post("/events", json=event("a", "i09")).json()["n_new"] == 0
        assert ask(one, **QUESTION)["n_history"] == ask(other, **QUESTION)["n_history"] == 4


def test_an_answer_of_one_is_found_by_the_other(town: Town, redis: RedisServer) -> None:
    with workers(town, store=redis.url) as (one, other):
        first, second = ask(one, **QUESTION), ask(other, **QUESTION)
        assert first.pop("answer_id") != second.pop("answer_id")
        assert first == second
        assert (found(one, "shared_responses"), found(other, "shared_responses")) == (0, 1)
        ask(other, **QUESTION)
        assert (found(other, "responses"), found(other, "shared_responses")) == (1, 1)


def test_an_event_leaves_no_answer_of_anybody_stale(town: Town, redis: RedisServer) -> None:
    with workers(town, store=redis.url) as (one, other):
        assert ids(ask(one, **QUESTION))[0] != "i09"
        other.post("/events", json=event("a", "i09"))
        assert ids(ask(one, **QUESTION))[0] == ids(ask(other, **QUESTION))[0] == "i09"
        assert found(other, "shared_responses") == 1  # what the first made after the event


def test_a_swap_leaves_no_answer_of_anybody_stale(town: Town, redis: RedisServer) -> None:
    town.add("2", boost=-1.0)
    with workers(town, store=redis.url) as (one, other):
        ask(one, **QUESTION)
        town.version = "2"
        assert look(other)
        assert (ask(other, **QUESTION)["version"], ask(one, **QUESTION)["version"]) == ("2", "1")
        assert found(other, "shared_responses") == 0
        assert look(one)
        assert ask(one, **QUESTION)["version"] == "2"
        assert found(one, "shared_responses") == 1


def test_another_log_finds_nothing(tmp_path: Path, redis: RedisServer) -> None:
    for name in ("one", "other"):
        with workers(Town.build(tmp_path / name), 1, store=redis.url) as (client,):
            ask(client, **QUESTION)
            assert found(client, "shared_responses") == 0


def test_without_redis_it_goes_on_and_says_so_without_the_password(
    town: Town, redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with workers(town, store=redis.url) as (one, other):
        before = ask(one, **QUESTION)
        redis.kill()
        assert ask(other, **QUESTION)["items"] == before["items"]
        assert one.post("/events", json=event("a", "i09")).status_code == 200
        assert ids(ask(other, **QUESTION))[0] == "i09"
        assert metric(other, "chronotope_store_failures_total") >= 1
    assert f"Redis at redis://127.0.0.1:{redis.port}/0" in caplog.text
    assert PASSWORD not in caplog.text


def test_what_another_release_wrote_is_no_answer(town: Town) -> None:
    class Old:
        def get(self, name: str) -> bytes:
            return b'{"items": []}'

        def put(self, name: str, value: bytes) -> None:
            raise AssertionError

    seen: list[bool] = []
    kept = ResponseCache(10, seen.append, shared_cache=Old(), count_shared=seen.append)
    assert kept.get(("a",)) is None
    assert seen == [False, False]


def test_at_the_start_redis_has_to_answer() -> None:
    store = RedisCache(f"redis://:{PASSWORD}@127.0.0.1:{free_port()}/0", "")
    with pytest.raises(StoreError, match=r"redis://127\.0\.0\.1:\d+/0.*leave --store out") as told:
        store.check()
    assert PASSWORD not in str(told.value)


def test_a_redis_that_hangs_is_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        failures: list[None] = []
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        store = RedisCache(url, "", lambda: failures.append(None))
        store.put("a", b"1")
        assert (store.get("a"), len(failures)) == (None, 1)  # the second look did not wait
        store.close()


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:6379", "http://:pw@x/0", "redis://", "redis://:p@h:x"]
)
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="redis://127") as told:
        url_without_credentials(url)
    assert "pw" not in str(told.value)


def test_what_the_lake_has_by_now_is_forgotten(town: Town) -> None:
    there = event("a", "i02", at="2020-09-13T12:26:40Z") | {"event_type": "visit"}
    with workers(town, 1) as (client,):
        client.post("/events", json=[there, event("b", "i09")])
        service: Any = client.app.state.service  # type: ignore[attr-defined]
        before = ask(client, **QUESTION)
        assert service.inference_service.live_state.n_events == 2
        service.watcher.try_poll()
        assert service.inference_service.live_state.n_events == 1
        assert ask(client, **QUESTION)["n_history"] == before["n_history"] == 4
        client.post("/events", json=event("c", "i08"))
        assert ids(ask(client, **QUESTION))[0] == "i08"
