"""Task engine: runs independent tasks in this process or on a Ray cluster."""

from chronotope.runtime.engine.config import EngineConfig
from chronotope.runtime.engine.local import LocalEngine
from chronotope.runtime.engine.open_engine import open_engine
from chronotope.runtime.engine.protocol import Engine

__all__ = ["Engine", "EngineConfig", "LocalEngine", "open_engine"]
