"""Parameters of a recommender by name, and options of a request."""

import difflib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from chronotope.contracts.errors import ConfigError
from chronotope.inference.request import RecommendOptions
from chronotope.models.config import ModelConfig
from chronotope.training.config import SHIPPED, TrainingConfig

Parameters: TypeAlias = dict[str, Any]
"""Parameters of a recommender by name."""

DEFAULTS: Final[Parameters] = {"init": SHIPPED}
"""Values that differ from those of a training flow: start at the checkpoint of the package."""

_FILTERS: Final = ("category", "lat", "lon", "within_km")


def checked_parameters(params: Parameters) -> Parameters:
    """The same parameters.

    Raises:
        ConfigError: There is no such parameter, or its value is invalid.
    """
    known_parameters = [*ModelConfig.model_fields, *TrainingConfig.model_fields]
    for parameter_name in params:
        if parameter_name not in known_parameters:
            similar_names = difflib.get_close_matches(parameter_name, known_parameters, 1)
            similar_hint = f"Did you mean {similar_names[0]}? " if similar_names else ""
            raise ConfigError(
                "A recommender has no such parameter",
                received=parameter_name,
                way_out=f"{similar_hint}get_params() lists all of them",
            )
    try:
        network_config(params), schedule_config(params)
    except ValueError as error:  # pydantic's
        raise ConfigError(f"A parameter is invalid: {error}") from error
    return params


def network_config(params: Parameters) -> ModelConfig:
    """Those of the network."""
    return ModelConfig(
        **{name: params[name] for name in ModelConfig.model_fields if name in params}
    )


def schedule_config(params: Parameters) -> TrainingConfig:
    """Those of the training."""
    chosen_names = [name for name in TrainingConfig.model_fields if name in params]
    return TrainingConfig(**{name: params[name] for name in chosen_names})


def request_options(k: int, new_only: bool, filters: Mapping[str, object]) -> RecommendOptions:
    """Options of a request.

    Args:
        k: Number of items.
        new_only: Only items that the user has not had yet.
        filters: ``category``, or ``lat``, ``lon`` and ``within_km``.

    Raises:
        ConfigError: A filter is unknown or invalid, or k is no positive number.
    """
    unknown_filters = [filter_name for filter_name in filters if filter_name not in _FILTERS]
    if unknown_filters:
        raise ConfigError(
            "There is no such filter",
            received=", ".join(unknown_filters),
            way_out=f"Use {', '.join(_FILTERS)}",
        )
    try:
        recommend_options = RecommendOptions.model_validate({"exclude_seen": new_only, **filters})
    except ValueError as error:
        raise ConfigError(f"A filter is invalid: {error}", received=dict(filters)) from error
    if recommend_options.within_km is not None and (
        recommend_options.lat is None or recommend_options.lon is None
    ):
        raise ConfigError("within_km needs lat and lon", received=dict(filters))
    if k < 1:
        raise ConfigError("k must be at least 1", received=k)
    # not validated again: the bound on k is one of the service's requests
    return recommend_options.model_copy(update={"k": k})


def utc_text(utc_s: int) -> str:
    """A UTC second as text."""
    return f"{datetime.fromtimestamp(utc_s, UTC):%Y-%m-%d %H:%M} UTC"
