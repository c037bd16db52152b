"""Open the engine that a config names."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from chronotope.contracts.errors import ConfigError
from chronotope.engine.config import EngineConfig
from chronotope.engine.local import LocalEngine
from chronotope.engine.on_ray import connected
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
    if find_spec("ray") is None:
        raise ConfigError(
            "The engine needs Ray, which is not installed",
            received=config.kind,
            way_out="pip install 'chronotope[scale]', or choose the engine local",
        )
    with connected(config) as engine:
        yield engine
