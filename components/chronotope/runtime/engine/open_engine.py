"""Construction of the configured task engine."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from chronotope.contracts.errors import ConfigError
from chronotope.runtime.engine.config import EngineConfig
from chronotope.runtime.engine.local import LocalEngine
from chronotope.runtime.engine.process_engine import process_workers
from chronotope.runtime.engine.protocol import Engine
from chronotope.runtime.engine.ray_engine import ray_connection


@contextmanager
def open_engine(config: EngineConfig) -> Iterator[Engine]:
    """Context manager of a task engine; its processes are stopped after the block.

    Args:
        config: Settings of the engine.

    Raises:
        ConfigError: Ray is configured but not installed.
        EngineError: The cluster does not respond.
    """
    if config.kind == "local":
        yield LocalEngine()
        return
    if config.kind == "processes":
        with process_workers(config) as opened_engine:
            yield opened_engine
        return
    require_ray()
    with ray_connection(config) as ray_engine:
        yield ray_engine


def require_ray() -> None:
    """Check that Ray is installed.

    Raises:
        ConfigError: It is not.
    """
    if find_spec("ray") is None:
        raise ConfigError(
            "The engine needs Ray, which is not installed",
            received="ray",
            way_out="Run pip install 'chronotope[scale]', or set the engine to local",
        )
