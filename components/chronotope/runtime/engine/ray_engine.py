"""Task engine on a Ray cluster: an existing one, or a private one on this machine."""

import logging
import os
import secrets
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any, Final, TypeVar

from chronotope.contracts.errors import EngineError
from chronotope.runtime.engine.config import EngineConfig

_QUIET: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # tasks without a GPU keep its variables
    "RAY_enable_metrics_collection": "0",
}
_LOOPBACK: Final = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # makes Ray listen on 127.0.0.1, on Linux as well
    "AUTOSCALER_METRIC_PORT": "0",
}
_STORE_BYTES: Final = 100 * 2**20
"""Object store of a private cluster in bytes; results are small, tasks pass paths, not data."""

_AHEAD: Final = 4
"""Tasks submitted per processor before the first result is awaited."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class RayEngine:
    """Parallel task engine on the nodes of a Ray cluster."""

    in_process = False

    def __init__(self, config: EngineConfig) -> None:
        """Use the cluster that this process is connected to; see ``ray_connection``."""
        import ray

        # Only lost tasks are retried: the function is deterministic and would raise again.
        self._task: Any = ray.remote(_call).options(
            num_cpus=config.task_cpus, max_retries=config.max_retries, retry_exceptions=False
        )
        n_cpus = ray.cluster_resources().get("CPU", 1.0)  # type: ignore[no-untyped-call]
        self._n_ahead = max(1, int(_AHEAD * n_cpus / config.task_cpus))

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Results in the order of the items; a bounded number of tasks is submitted ahead."""
        import ray

        pending_tasks: deque[Any] = deque()
        try:
            for item in items:
                pending_tasks.append(self._task.remote(function, item))
                if len(pending_tasks) >= self._n_ahead:
                    yield _result(pending_tasks.popleft())
            while pending_tasks:
                yield _result(pending_tasks.popleft())
        finally:  # after an error, or if the caller stops early
            for ray_task in pending_tasks:
                ray.cancel(ray_task, force=True)


@contextmanager
def ray_connection(config: EngineConfig) -> Iterator[RayEngine]:
    """Context manager of a connection to Ray; a private cluster is stopped after the block.

    Args:
        config: Settings of the engine. Without an address and without ``RAY_ADDRESS`` a private
            cluster is started; its ports are on 127.0.0.1 and require a token that only this
            process knows.

    Raises:
        EngineError: The cluster does not respond, or refuses the connection.
    """
    address = config.address or os.environ.get("RAY_ADDRESS", "")
    _set_env_defaults(_QUIET if address else _QUIET | _LOOPBACK | _secret())
    import ray  # reads these variables at import

    init_options: dict[str, Any] = {"address": address}
    if not address:
        init_options = {
            "address": "local",
            "object_store_memory": _STORE_BYTES,
            "include_dashboard": False,
        }
    try:
        ray.init(**init_options, log_to_driver=False, logging_level=logging.ERROR)
    except (ray.exceptions.RayError, ConnectionError, RuntimeError, ValueError) as error:
        raise EngineError(
            "The Ray cluster cannot be used",
            received=f"{address or 'a private one'}: {error}",
            way_out="Run `ray status` on the cluster, and check that RAY_AUTH_TOKEN or "
            "RAY_AUTH_TOKEN_PATH contains its token",
        ) from error
    try:
        with redirect_stdout(sys.stderr):  # Ray reports lost workers there
            yield RayEngine(config)
    finally:
        ray.shutdown()


def _secret() -> dict[str, str]:
    """Authentication token, one per process, since Ray caches the first that it reads."""
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


def _set_env_defaults(env_defaults: Mapping[str, str]) -> None:
    for variable_name, variable_value in env_defaults.items():
        os.environ.setdefault(variable_name, variable_value)


def _call(function: Callable[[Item], Result], item: Item) -> Result:
    return function(item)


def _result(ray_task: Any) -> Any:
    """Result of a task; an exception of the task is raised again here."""
    import ray
    from ray.exceptions import RayError, RayTaskError

    try:
        return ray.get(ray_task)
    except RayTaskError as error:
        task_error: BaseException = error.cause
        if isinstance(task_error, RayError):  # the exception could not be serialized
            raise EngineError("A task failed", received=task_error) from error
        task_error.add_note(f"Raised by a task on another node:\n{error}")
        raise task_error from None
    except RayError as error:
        raise EngineError(
            "A task was lost more often than max_retries allows",
            received=f"{type(error).__name__}: {error}",
            way_out="Check memory and logs of the nodes, or increase max_retries",
        ) from error
