"""Split of a network's state: what belongs to one catalogue, and what carries over to others.

Kernels, gates and heads read counts, hours, gaps and kilometres, whose units are those of any log.
Rows of embeddings follow the ids of a catalogue, and tables are computed from it. Every key of
``ChronotopeNet.state_dict`` is in exactly one of the two classes.
"""

from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final

from chronotope.contracts.errors import ConfigError


class ParameterScope(StrEnum):
    """Where a parameter or buffer has its meaning."""

    CATALOGUE = "catalogue"
    TRANSFERABLE = "transferable"


EMBEDDING_IDS: Final = {
    "item_embedding": "items",
    "category_embedding": "categories",
    "last_category_embedding": "categories",
}
"""Embedding layers, and the id map of the catalogue that their rows follow."""

SCOPE_PATTERNS: Final[dict[ParameterScope, tuple[str, ...]]] = {
    ParameterScope.CATALOGUE: (
        "item_tables.*",  # categories, neighbourhoods and coordinates of the items
        "context_head.*",  # columns that one log names, with its scales
        "content_head.*",  # axes of the encoders, and modalities, of one catalogue
        "item_context_head.*",  # levels that one log names
        "user_head.*",  # what the users of one log start with, by their attributes
        "backbone.item_embedding.*",
        "backbone.category_embedding.*",
        "category_head.category_embedding.*",
        "time_head.category_embedding.*",
        "category_head.last_category_embedding.*",
        "repeat_head.item_features.category_embedding.*",
    ),
    ParameterScope.TRANSFERABLE: (
        "kernel_bank.*",
        "gate.*",
        "repeat_head.log_decay_h",
        "repeat_head.mix_*",
        "time_head.mlp.*",
        "time_head.copy_weights",
        "time_head.component_means",
        "time_head.bin_weights",
        "time_head.arrival_*",
        "time_head.basket_layer",
        "place_gate.*",
        "discovery_head.*",
        "category_head.input_layer.*",
        "category_head.output_layer.*",
        "backbone.sequence_encoder.*",
        "backbone.query_tower.*",
        "backbone.item_tower.*",
    ),
}
"""Patterns of state keys; a key matches the patterns of one class only."""

CONTEXT_INPUTS: Final = (
    "gate.0.weight",
    "repeat_head.mix_context.weight",
    "place_gate.weight",
    "discovery_head.layer.weight",
)
"""Weights whose last input columns are the context columns of a log; the first ones carry over."""

LATER_INPUTS: Final = ("repeat_head.mix_features.weight",)
"""Weights whose last input columns came later: those of an older checkpoint start at zero."""


def parameter_scope(state_key: str) -> ParameterScope:
    """Class of a key of ``ChronotopeNet.state_dict``.

    Args:
        state_key: Name of a parameter or buffer.

    Raises:
        ConfigError: The key is in no class, or in both.
    """
    scopes = [
        scope
        for scope, patterns in SCOPE_PATTERNS.items()
        if any(fnmatchcase(state_key, pattern) for pattern in patterns)
    ]
    if len(scopes) != 1:
        raise ConfigError(
            "A parameter of the network is not declared as of a catalogue or as transferable",
            received=f"{state_key}: {', '.join(scopes) or 'no class'}",
            way_out="Add it to one class of SCOPE_PATTERNS",
        )
    return scopes[0]


def is_transferable(state_key: str) -> bool:
    """Whether a parameter or buffer carries over to another log."""
    return parameter_scope(state_key) is ParameterScope.TRANSFERABLE


def embedded_ids(state_key: str) -> str | None:
    """Field of the catalogue whose ids the rows of a table follow; None for all other tensors.

    Args:
        state_key: Name of a parameter or buffer.
    """
    layer_names = state_key.split(".")[-2:-1]
    return EMBEDDING_IDS.get(layer_names[0]) if layer_names else None
