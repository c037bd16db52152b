"""Tasks on real Ray: in order, errors as they were, a lost node's tasks done again."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from chronotope.contracts.errors import ConfigError, EngineError
from chronotope.runtime.engine import Engine, EngineConfig, open_engine
from tests.runtime.engine.cluster import SHAPE, two_nodes

pytestmark = pytest.mark.slow
DEADLINE_S = 120


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with two_nodes() as (cluster, _):
        yield cluster


@pytest.fixture(scope="module")
def engine(cluster: Any) -> Iterator[Engine]:
    with open_engine(EngineConfig(kind="ray", address=cluster.address)) as engine:
        yield engine


def where(_: int) -> tuple[int, str]:
    import ray

    time.sleep(0.2)  # else one node does it all before the other has a worker
    return os.getpid(), ray.get_runtime_context().get_node_id()


def slow_first(i: int) -> int:
    time.sleep(1.0 if i == 0 else 0.0)
    return i * i


def refuse(i: int) -> int:
    if i == 2:
        raise ConfigError("Two is refused", received=i, way_out="Take three")
    return i


def die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_results_keep_the_order_of_the_items(engine: Engine) -> None:
    assert not engine.in_process
    assert list(engine.map(slow_first, range(20))) == [i * i for i in range(20)]


def test_both_nodes_work_and_not_this_process(engine: Engine) -> None:
    found = list(engine.map(where, range(12)))
    assert len({node for _, node in found}) == 2
    assert os.getpid() not in {pid for pid, _ in found}


def test_an_error_is_raised_as_it_was_there(engine: Engine) -> None:
    results = engine.map(refuse, range(4))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ConfigError, match=r"Two is refused. Received: 2. Take three.") as caught:
        next(results)
    assert caught.value.way_out == "Take three"
    assert "in refuse" in caught.value.__notes__[0]


def test_a_task_that_always_dies_is_given_up(cluster: Any, engine: Engine) -> None:
    from chronotope.runtime.engine.ray_engine import RayEngine

    fearless = RayEngine(EngineConfig(kind="ray", max_retries=1))
    with pytest.raises(EngineError, match="lost more often than max_retries allows"):
        list(fearless.map(die, [0]))


def note_and_wait(folder: Path) -> str:
    """Say where this runs, then wait to be let go."""
    import ray

    node = ray.get_runtime_context().get_node_id()
    (folder / f"{node}-{os.getpid()}").touch()
    until = time.monotonic() + DEADLINE_S
    while not (folder / "go").exists() and time.monotonic() < until:
        time.sleep(0.05)
    return str(node)


def test_tasks_of_a_killed_node_are_done_again(
    cluster: Any, engine: Engine, tmp_path: Path
) -> None:
    victim = cluster.add_node(**SHAPE)
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(lambda: list(engine.map(note_and_wait, [tmp_path] * 6)))
        wait_until(lambda: any(tmp_path.glob(f"{victim.node_id}-*")))
        worker = next(tmp_path.glob(f"{victim.node_id}-*")).name.rpartition("-")[2]
        cluster.remove_node(victim, allow_graceful=False)
        wait_until(lambda: not Path(f"/proc/{worker}").exists())
        (tmp_path / "go").touch()
        nodes = found.result(DEADLINE_S)
    assert len(nodes) == 6
    assert victim.node_id not in nodes


PRIVATE = """

from chronotope.runtime.engine import EngineConfig, open_engine
with open_engine(EngineConfig(kind="ray")) as engine:
    import ray
    found = list(engine.map(abs, [-1, -2]))
    hosts = [node["NodeManagerAddress"] for node in ray.nodes()]
    n_bytes = ray.cluster_resources()["object_store_memory"]
print(found, hosts, n_bytes <= 100 * 2**20, ray.is_initialized())
"""


def test_without_an_address_a_private_cluster_comes_and_goes() -> None:
    private = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    said = run(PRIVATE, private)
    assert (said.stdout, said.stderr) == ("[1, 2] ['127.0.0.1'] True False\n", "")


def test_a_cluster_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    code = ABSENT.format(address=address)
    told = {"RAY_py_gcs_connect_timeout_s": "2", "RAY_NUM_REDIS_GET_RETRIES": "1"}  # else 30
    said = run(code, {**os.environ, **told})
    assert f"EngineError: The Ray cluster cannot be used. Received: {address}" in said.stderr


ABSENT = """
from chronotope.runtime.engine import EngineConfig, open_engine
with open_engine(EngineConfig(kind="ray", address="{address}")):
    pass
"""


def run(code: str, env: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603 - our own interpreter and script
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
    )


def wait_until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < until, "nothing happened"
        time.sleep(0.05)
