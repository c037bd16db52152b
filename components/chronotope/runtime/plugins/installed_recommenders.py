"""Recommenders of other packages, found by their entry points.

A package names a class or a function without arguments that returns a model which passes
``chronotope.testing``::

    [project.entry-points."chronotope.recommenders"]
    trending = "my_package.trending:Trending"

Installing it is the consent to run it: from then on the model is evaluated beside the baselines.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from chronotope.contracts.errors import ConfigError
from chronotope.contracts.protocols import Recommender

ENTRY_POINT_GROUP: Final = "chronotope.recommenders"
"""Group of the entry points."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _-]{0,39}")
_RESERVED: Final = ("challenger", "champion", "user")
"""Names of other columns in the files of an evaluation."""


def installed_versions() -> tuple[str, ...]:
    """Entry points with package and version, sorted; their code is not imported."""
    return tuple(sorted(map(_label, _entry_points())))


def installed_recommenders() -> list[Recommender]:
    """Fresh, unfitted models of all installed packages, by the name of their entry point.

    Raises:
        ConfigError: A model cannot be imported or built, does not satisfy the protocol, or has
            no valid name of its own; the message names the package.
    """
    models = [_build(entry_point) for entry_point in _entry_points()]
    model_names = [model.name for model in models]
    for model_name in model_names:
        if model_names.count(model_name) > 1:
            raise ConfigError(
                "Two installed recommenders have one name",
                received=f"{model_name}, of {', '.join(installed_versions())}",
                way_out="Rename one, or uninstall its package",
            )
    return models


@contextmanager
def recommender_errors(model: Recommender) -> Iterator[None]:
    """Raise an error inside a model of another package as one that names the model.

    Args:
        model: Model that is fitted or evaluated.
    """
    if type(model).__module__.split(".")[0] == "chronotope":
        yield
        return
    try:
        yield
    except Exception as error:
        raise ConfigError(
            f"The installed recommender {model.name!r} failed on this log",
            received=f"{type(error).__name__}: {error}",
            way_out="Test it with a class that inherits chronotope.testing.RecommenderSuite, or "
            "uninstall its package",
        ) from error


def _entry_points() -> list[EntryPoint]:
    found_points = {  # a package that is on the path twice counts once
        (entry_point.name, entry_point.value): entry_point
        for entry_point in entry_points(group=ENTRY_POINT_GROUP)
    }
    return [found_points[key] for key in sorted(found_points)]


def _label(entry_point: EntryPoint) -> str:
    package = "unknown package" if entry_point.dist is None else entry_point.dist.name
    version = "" if entry_point.dist is None else f" {entry_point.dist.version}"
    return f"{entry_point.name} = {entry_point.value} ({package}{version})"


def _build(entry_point: EntryPoint) -> Recommender:
    try:
        model = entry_point.load()()
    except Exception as error:
        raise ConfigError(
            "An installed recommender cannot be built",
            received=f"{_label(entry_point)}: {type(error).__name__}: {error}",
            way_out="Correct it, or uninstall its package",
        ) from error
    if not isinstance(model, Recommender):
        raise ConfigError(
            "An installed recommender lacks name, history_len, fit, observe or scores",
            received=_label(entry_point),
            way_out="Test it with a class that inherits chronotope.testing.RecommenderSuite",
        )
    model_name = model.name
    if not _NAME.fullmatch(model_name) or model_name in _RESERVED:
        raise ConfigError(
            "The name of an installed recommender has 1 to 40 letters, digits, spaces, hyphens or "
            f"underscores, and is none of {', '.join(_RESERVED)}",
            received=f"{model_name!r} of {_label(entry_point)}",
            way_out="Change its property name",
        )
    return model
