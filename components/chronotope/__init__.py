"""Chronotope: predict what a user does next, when and where, and keep it true.

``import chronotope as ct`` is quick: each name is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from chronotope import datasets
    from chronotope.api import plot, split
    from chronotope.api.catalog import ItemCatalog as Catalog
    from chronotope.api.evaluate_models import evaluate
    from chronotope.api.evaluation import Evaluation
    from chronotope.api.logs.log import Log
    from chronotope.api.recommend_items import recommend
    from chronotope.api.recommender import NextEventRecommender as Recommender
    from chronotope.models.baselines import (
        Ease,
        FirstOrderMarkov,
        GfCf,
        Popularity,
        PopularityLastDays,
        TifuKnn,
        UpCf,
        UserCounts,
    )

__version__ = "0.1.0"

_BASELINES: Final = "chronotope.models.baselines"

_PLACES: Final = {
    "Catalog": ("chronotope.api.catalog", "ItemCatalog"),
    "Ease": (_BASELINES, "Ease"),
    "Evaluation": ("chronotope.api.evaluation", "Evaluation"),
    "FirstOrderMarkov": (_BASELINES, "FirstOrderMarkov"),
    "GfCf": (_BASELINES, "GfCf"),
    "Log": ("chronotope.api.logs.log", "Log"),
    "Popularity": (_BASELINES, "Popularity"),
    "PopularityLastDays": (_BASELINES, "PopularityLastDays"),
    "Recommender": ("chronotope.api.recommender", "NextEventRecommender"),
    "TifuKnn": (_BASELINES, "TifuKnn"),
    "UpCf": (_BASELINES, "UpCf"),
    "UserCounts": (_BASELINES, "UserCounts"),
    "datasets": ("chronotope.datasets", ""),
    "evaluate": ("chronotope.api.evaluate_models", "evaluate"),
    "plot": ("chronotope.api.plot", ""),
    "recommend": ("chronotope.api.recommend_items", "recommend"),
    "split": ("chronotope.api.split", ""),
}
"""Module of each public name, and its name there; empty for the module itself."""

__all__ = [
    "Catalog",
    "Ease",
    "Evaluation",
    "FirstOrderMarkov",
    "GfCf",
    "Log",
    "Popularity",
    "PopularityLastDays",
    "Recommender",
    "TifuKnn",
    "UpCf",
    "UserCounts",
    "datasets",
    "evaluate",
    "plot",
    "recommend",
    "split",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module_name, member = _PLACES[name]
    module = import_module(module_name)
    value = getattr(module, member) if member else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Public names, for completion."""
    return [*__all__, "__version__"]
