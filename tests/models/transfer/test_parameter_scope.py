"""Every tensor of a network belongs to its catalogue or carries over, and none is forgotten."""

from dataclasses import replace
from fnmatch import fnmatchcase

import pytest

from chronotope.contracts.errors import ConfigError
from chronotope.contracts.item_context import ItemContextColumn
from chronotope.models.config import BACKBONES, ModelConfig
from chronotope.models.network import ChronotopeNet
from chronotope.models.transfer.parameter_scope import (
    CONTEXT_INPUTS,
    SCOPE_PATTERNS,
    ParameterScope,
    embedded_ids,
    is_transferable,
    parameter_scope,
)
from chronotope.testing.recommender_suite import sample_catalog, sample_content


def state_keys(backbone: str) -> set[str]:
    config = ModelConfig.model_validate(
        {
            "backbone": backbone,
            "category_head": True,
            "context": ("rain",),
            "item_context": ("promo",),
            "d_model": 8,
        }
    )
    promotions = ItemContextColumn(name="promo", first=1, levels=("a",), default="no")
    catalog = replace(sample_catalog(), item_context=(promotions,))
    return set(
        ChronotopeNet(config, replace(catalog, content=sample_content(catalog))).state_dict()
    )


@pytest.mark.parametrize("backbone", BACKBONES)
def test_each_key_of_every_family_is_in_exactly_one_class(backbone: str) -> None:
    for state_key in state_keys(backbone):
        matches = [
            scope
            for scope, patterns in SCOPE_PATTERNS.items()
            for pattern in patterns
            if fnmatchcase(state_key, pattern)
        ]
        assert len(matches) == 1, state_key
        assert parameter_scope(state_key) is matches[0]


def test_no_pattern_is_left_from_a_parameter_that_is_gone() -> None:
    all_keys = set().union(*(state_keys(backbone) for backbone in BACKBONES))
    for patterns in SCOPE_PATTERNS.values():
        for pattern in patterns:
            assert any(fnmatchcase(state_key, pattern) for state_key in all_keys), pattern
    assert set(CONTEXT_INPUTS) < all_keys


def test_rows_that_follow_ids_belong_to_the_catalogue() -> None:
    for state_key in state_keys("gru"):
        if embedded_ids(state_key) is not None:
            assert not is_transferable(state_key), state_key
    assert embedded_ids("backbone.item_embedding.weight") == "items"
    assert embedded_ids("gate.0.weight") is None


def test_a_parameter_in_no_class_is_an_error() -> None:
    with pytest.raises(ConfigError, match="SCOPE_PATTERNS"):
        parameter_scope("new_head.weight")
    assert parameter_scope("item_tables.cell") is ParameterScope.CATALOGUE
