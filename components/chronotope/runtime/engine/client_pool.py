"""Calls of many clients at once with a deadline: in this process, in worker processes, on Ray.

Unlike the tasks of an engine, a call may fail or be late without ending the run.
"""

import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

from chronotope.contracts.errors import ChronotopeError
from chronotope.runtime.engine.config import EngineConfig
from chronotope.runtime.engine.open_engine import require_ray
from chronotope.runtime.engine.process_engine import n_cores, prepare_worker
from chronotope.runtime.engine.ray_engine import ray_connection

Item = TypeVar("Item")
Result = TypeVar("Result")

LATE: Final = "late"
LOST: Final = "its process was lost"

NODE_CHECK_S: Final = 5.0
"""Time in which a cluster notices that a node is gone."""


@dataclass(frozen=True, slots=True)
class CallOutcome(Generic[Result]):
    """Outcome of one client's call.

    Attributes:
        result: What the function returned; None if it failed or was late.
        failure: Why there is no result; "" if there is one.
    """

    result: Result | None = None
    failure: str = ""


class ClientPool(Protocol):
    """Where clients run."""

    def call(
        self,
        function: Callable[[Item], Result],
        item_by_client: Mapping[int, Item],
        timeout_s: float,
    ) -> dict[int, CallOutcome[Result]]:
        """Outcome of every client.

        Args:
            function: Function that a worker process can import.
            item_by_client: Input of each client.
            timeout_s: Time after which answers are left out.
        """


class LocalPool:
    """Clients one after the other in this process; each has the whole time."""

    def call(
        self,
        function: Callable[[Item], Result],
        item_by_client: Mapping[int, Item],
        timeout_s: float,
    ) -> dict[int, CallOutcome[Result]]:
        """Outcome of every client; one that took longer than the time is late."""
        outcomes = {}
        for client, item in item_by_client.items():
            started_s = time.monotonic()
            outcome = _attempt(function, item)
            is_late = time.monotonic() - started_s > timeout_s
            outcomes[client] = CallOutcome(failure=LATE) if is_late else outcome
        return outcomes


class ProcessPool:
    """Clients in worker processes, spawned because this process may have threads."""

    def __init__(self, n_workers: int) -> None:
        """Set the size; no process is started yet."""
        self._n_workers = n_workers
        self._executor: ProcessPoolExecutor | None = None

    def call(
        self,
        function: Callable[[Item], Result],
        item_by_client: Mapping[int, Item],
        timeout_s: float,
    ) -> dict[int, CallOutcome[Result]]:
        """Outcome of every client; late ones still occupy their worker until they are done."""
        executor = self._open()
        try:
            futures = {
                client: executor.submit(_attempt, function, item)
                for client, item in item_by_client.items()
            }
        except BrokenProcessPool:  # a worker died since the last call
            self.close()
            return self.call(function, item_by_client, timeout_s)
        wait(futures.values(), timeout=timeout_s)
        outcomes = {client: _outcome_of(future) for client, future in futures.items()}
        if any(outcome.failure == LOST for outcome in outcomes.values()):
            self.close()
        return outcomes

    def close(self) -> None:
        """Stop the workers; calls that still run are ended."""
        if self._executor is None:
            return
        processes = list((self._executor._processes or {}).values())  # no public way
        self._executor.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.kill()
            process.join()
        self._executor = None

    def _open(self) -> ProcessPoolExecutor:
        if self._executor is None:
            self._executor = ProcessPoolExecutor(
                self._n_workers,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=prepare_worker,
                initargs=(max(1, n_cores() // self._n_workers),),
            )
        return self._executor


class RayPool:
    """Clients as Ray actors: each client is always served by the same one, while its node lives."""

    def __init__(self, config: EngineConfig, n_clients: int) -> None:
        """Start an actor for each client, at most one for each ``task_cpus`` of the cluster."""
        import ray

        n_cpus = ray.cluster_resources().get("CPU", 1.0)  # type: ignore[no-untyped-call]
        n_actors = min(n_clients, max(1, int(n_cpus / config.task_cpus)))
        host_class: Any = ray.remote(_ClientHost).options(
            num_cpus=config.task_cpus,
            max_restarts=config.max_retries,
            scheduling_strategy="SPREAD",
        )
        self._actors: list[Any] = [host_class.remote() for _ in range(n_actors)]
        self._nodes: list[Any] = [actor.node_id.remote() for actor in self._actors]

    def call(
        self,
        function: Callable[[Item], Result],
        item_by_client: Mapping[int, Item],
        timeout_s: float,
    ) -> dict[int, CallOutcome[Result]]:
        """Outcome of every client; those of a node that was lost are called again elsewhere."""
        started_s = time.monotonic()
        self._leave_lost_nodes()
        outcomes = self._call_once(function, item_by_client, timeout_s)
        if any(outcome.failure == LOST for outcome in outcomes.values()):
            time.sleep(NODE_CHECK_S)
            if self._leave_lost_nodes():
                lost = {n: item_by_client[n] for n, o in outcomes.items() if o.failure == LOST}
                rest_s = max(0.0, timeout_s - (time.monotonic() - started_s))
                outcomes |= self._call_once(function, lost, rest_s)
        return outcomes

    def _call_once(
        self,
        function: Callable[[Item], Result],
        item_by_client: Mapping[int, Item],
        timeout_s: float,
    ) -> dict[int, CallOutcome[Result]]:
        import ray
        from ray.exceptions import RayError

        references = {
            client: self._actors[client % len(self._actors)].call.remote(function, item)
            for client, item in item_by_client.items()
        }
        done, _ = ray.wait(list(references.values()), num_returns=len(references),
                           timeout=timeout_s)  # fmt: skip
        finished = set(done)
        outcomes: dict[int, CallOutcome[Result]] = {}
        for client, reference in references.items():
            if reference not in finished:
                outcomes[client] = CallOutcome(failure=LATE)
                continue
            try:
                outcomes[client] = ray.get(reference)
            except RayError:  # the actor died; Ray starts it again
                outcomes[client] = CallOutcome(failure=LOST)
        return outcomes

    def _leave_lost_nodes(self) -> bool:
        """Whether actors were on nodes that are gone; the others take over their clients.

        Ray starts such an actor again only where processors are free, which may be nowhere.
        """
        import ray
        from ray.exceptions import RayError

        living = {node["NodeID"] for node in ray.nodes() if node["Alive"]}  # type: ignore[no-untyped-call]

        def is_lost(node_id: Any) -> bool:
            try:
                return ray.get(node_id, timeout=0) not in living
            except RayError:  # not known yet
                return False

        living_actors = [n for n, node_id in enumerate(self._nodes) if not is_lost(node_id)]
        if len(living_actors) in (0, len(self._actors)):
            return False
        self._actors = [self._actors[n] for n in living_actors]
        self._nodes = [self._nodes[n] for n in living_actors]
        return True


@contextmanager
def open_client_pool(config: EngineConfig, n_clients: int) -> Iterator[ClientPool]:
    """Context manager of the configured pool; its processes are stopped after the block.

    Args:
        config: Settings of the engine.
        n_clients: Number of clients.

    Raises:
        ConfigError: Ray is configured but not installed.
        EngineError: The Ray cluster does not respond.
    """
    if config.kind == "local":
        yield LocalPool()
    elif config.kind == "processes":
        process_pool = ProcessPool(min(n_clients, config.n_workers or n_cores()))
        try:
            yield process_pool
        finally:
            process_pool.close()
    else:
        require_ray()
        with ray_connection(config):
            yield RayPool(config, n_clients)


class _ClientHost:
    """Actor that runs the calls of its clients one after the other."""

    def node_id(self) -> str:
        """Node of the cluster that the actor runs on."""
        import ray

        return str(ray.get_runtime_context().get_node_id())

    def call(self, function: Callable[[Any], Any], item: Any) -> CallOutcome[Any]:
        """Outcome of one call."""
        return _attempt(function, item)


def _attempt(function: Callable[[Item], Result], item: Item) -> CallOutcome[Result]:
    """Outcome of a call; of an error no more than its kind leaves the client."""
    try:
        return CallOutcome(function(item))
    except ChronotopeError as error:
        return CallOutcome(failure=f"{type(error).__name__}: {error.problem}")
    except Exception as error:  # whatever breaks one client must not end the others
        return CallOutcome(failure=type(error).__name__)


def _outcome_of(future: "Future[CallOutcome[Result]]") -> CallOutcome[Result]:
    if not future.done():
        future.cancel()
        return CallOutcome(failure=LATE)
    try:
        return future.result()
    except BrokenProcessPool:
        return CallOutcome(failure=LOST)
