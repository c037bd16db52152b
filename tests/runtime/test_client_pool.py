"""Calls of clients: failures and delays leave out a client, never the run."""

import os
import time

import pytest

from chronotope.contracts.errors import DataError
from chronotope.runtime.engine import EngineConfig
from chronotope.runtime.engine.client_pool import open_client_pool
from tests.runtime.engine.cluster import two_nodes


def answer(item: str) -> str:
    """Answer of a client, whose input says how it fails."""
    if item == "late":
        time.sleep(1.5)
    if item == "dies":
        os._exit(1)
    if item == "refuses":
        raise DataError("Nothing to count", received="user-17")
    if item == "breaks":
        raise ZeroDivisionError("user-17")
    return f"answer to {item}"


@pytest.mark.parametrize("kind", ["local", pytest.param("processes", marks=pytest.mark.slow)])
def test_clients_that_fail_or_are_late_are_left_out(kind: str) -> None:
    items = dict(enumerate(["a", "refuses", "breaks", "late"]))
    with open_client_pool(EngineConfig(kind=kind, n_workers=2), len(items)) as pool:
        pool.call(answer, {0: "warm up"}, 60.0)
        outcomes = pool.call(answer, items, 1.0)
    assert outcomes[0].result == "answer to a"
    assert [outcomes[number].failure for number in (1, 2, 3)] == [
        "DataError: Nothing to count",
        "ZeroDivisionError",
        "late",
    ]


def test_what_a_client_received_does_not_leave_it_in_a_message() -> None:
    with open_client_pool(EngineConfig(), 2) as pool:
        outcomes = pool.call(answer, {0: "refuses", 1: "breaks"}, 1.0)
    assert "user-17" not in str(outcomes)


@pytest.mark.slow
def test_clients_answer_again_after_a_process_died() -> None:
    with open_client_pool(EngineConfig(kind="processes", n_workers=1), 2) as pool:
        assert pool.call(answer, {0: "dies"}, 60.0)[0].failure == "its process was lost"
        assert pool.call(answer, {0: "a", 1: "b"}, 60.0)[1].result == "answer to b"


@pytest.mark.slow
def test_clients_are_actors_on_a_cluster_and_one_that_died_comes_back() -> None:
    with two_nodes() as (cluster, _):
        config = EngineConfig(kind="ray", address=cluster.address)
        with open_client_pool(config, 3) as pool:
            assert pool.call(answer, {0: "warm up"}, 60.0)[0].result == "answer to warm up"
            outcomes = pool.call(answer, dict(enumerate(["a", "refuses", "b"])), 60.0)
            assert [outcomes[n].result for n in (0, 2)] == ["answer to a", "answer to b"]
            assert outcomes[1].failure == "DataError: Nothing to count"
            assert pool.call(answer, {0: "dies"}, 60.0)[0].failure == "its process was lost"
            assert pool.call(answer, {0: "c"}, 60.0)[0].result == "answer to c"
