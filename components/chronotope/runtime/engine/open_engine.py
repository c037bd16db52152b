"""Open the engine that a config names."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from chronotope.contracts.errors import ConfigError
from chronotope.runtime.engine.config import EngineConfig
from chronotope.runtime.engine.local import LocalEngine
from chronotope.runtime.engine.protocol import Engine
from chronotope.runtime.engine.ray_engine import ray_connection


@contextmanager
def open_engine(config: EngineConfig) -> Iterator[Engine]:
    """An engine for the length of the block; what it started is stopped behind it.

    Args:
        config: Which engine.

    Raises:
        ConfigError: Ray is asked for and not installed.
        EngineError: The cluster does not answer.
    """
    if config.kind == "local":
        yield LocalEngine()
        return
    if find_spec("ray") is None:
        raise ConfigError(
            "The engine needs Ray, which is not installed",
            received=config.kind,
            way_out="pip install 'chronotope[scale]', or choose the engine local",
        )
    with ray_connection(config) as opened_engine:
        yield opened_engine
