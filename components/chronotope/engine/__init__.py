"""Where work that falls apart into tasks is done; the only room that knows Ray."""

from chronotope.engine.config import EngineConfig
from chronotope.engine.local import LocalEngine
from chronotope.engine.opening import open_engine
from chronotope.engine.protocol import Engine

__all__ = ["Engine", "EngineConfig", "LocalEngine", "open_engine"]
