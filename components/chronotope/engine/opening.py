"""Open the engine that a config names."""

from collections.abc import Iterator
from contextlib import contextmanager

from chronotope.contracts.errors import ConfigError
from chronotope.engine.config import EngineConfig
from chronotope.engine.local import LocalEngine
from chronotope.engine.protocol import Engine


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
    try:
        from chronotope.engine.on_ray import connected  # only where it is asked for: 2 s
    except ModuleNotFoundError as error:
        raise ConfigError(
            "The engine needs Ray, which is not installed",
            received=error,
            way_out="pip install 'chronotope[scale]', or choose the engine local",
        ) from error
    with connected(config) as engine:
        yield engine
