"""The encoder of categories, lists of values and numbers."""

import math

import numpy as np
import pytest

from chronotope.content.encoder import Encoder, Modality, encoder_id
from chronotope.content.encoders.attribute_encoder import (
    MAX_VALUES,
    AttributeEncoder,
    attributes_from_json,
    attributes_to_json,
    item_attributes,
)
from chronotope.contracts.errors import ArtifactError, NotEnoughData

FILMS = [
    {"genres": ("Drama", "War") if n % 2 else ("Comedy",), "year": 1960.0 + n % 40, "id": (f"{n}",)}
    for n in range(80)
]


def test_items_with_the_same_values_and_near_numbers_are_near_each_other() -> None:
    encoder = AttributeEncoder.fit(FILMS)
    drama, war, later, comedy, nothing = encoder.encode(
        [
            {"genres": ("Drama", "War"), "year": 1970.0},
            {"genres": ("War",), "year": 1971.0},
            {"genres": ("War",), "year": 1999.0},
            {"genres": ("Comedy",), "year": 1970.0},
            {"genres": ("Opera",), "id": ("new",)},
        ]
    )
    assert drama @ war > 0.75 > drama @ later > 0.3
    assert 0.45 < drama @ comedy < 0.55  # the year alone
    assert not nothing.any()
    np.testing.assert_allclose(np.linalg.norm([drama, war, later], axis=1), 1, rtol=1e-5)


def test_values_of_few_items_and_columns_without_two_values_are_left_out() -> None:
    films = [*FILMS, {"genres": ("Noir",), "colour": ("yes",), "runtime": 90.0}]
    columns = AttributeEncoder.fit(films).columns
    assert [(column.name, column.values) for column in columns.values] == [
        ("genres", ("Comedy", "Drama", "War"))
    ]
    assert [column.name for column in columns.numbers] == ["year"]
    genres, _ = AttributeEncoder.fit(films, min_items=1).columns.values
    assert "Noir" in genres.values
    many = [{"brand": (f"b{n % 400}",)} for n in range(1_600)]
    assert AttributeEncoder.fit(many).dim == MAX_VALUES


def test_a_number_is_placed_by_its_share_of_the_catalogue() -> None:
    skewed = [{"price": float(price)} for price in [*range(1, 100), 1_000_000]]
    encoder = AttributeEncoder.fit(skewed)
    low, middle, high, beyond = encoder.encode(
        [{"price": price} for price in (1.0, 50.0, 99.0, 1e12)]
    )
    assert low @ middle < 0.1 > middle @ high
    assert high @ beyond > 0.9


def test_it_is_an_encoder_and_the_same_in_any_order() -> None:
    first, second = AttributeEncoder.fit(FILMS), AttributeEncoder.fit(FILMS[::-1])
    assert isinstance(first, Encoder)
    assert first.modality is Modality.ATTRIBUTES
    assert first.digest == second.digest
    assert encoder_id(first) == f"attributes@{first.digest[:16]}"
    assert AttributeEncoder.fit(FILMS[:-8]).digest != first.digest


def test_it_is_stored_and_read_again() -> None:
    encoder = AttributeEncoder.fit(FILMS)
    restored = AttributeEncoder.from_bytes(encoder.to_bytes())
    assert restored.digest == encoder.digest
    np.testing.assert_array_equal(restored.encode(FILMS), encoder.encode(FILMS))
    assert restored.encode([]).shape == (0, encoder.dim)


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b'{"values": [{"name": "a"}]}'])
def test_a_damaged_state_is_refused(content: bytes) -> None:
    with pytest.raises(ArtifactError, match="chronotope embed DATASET --refit"):
        AttributeEncoder.from_bytes(content)


@pytest.mark.parametrize(
    "items", [[], [{}], [{"a": ("x",)}] * 9, [{"year": 1.0}] * 9, [{"a": ("x",)}, {"a": ("y",)}]]
)
def test_attributes_that_say_nothing_are_refused(items: list[dict[str, tuple[str, ...]]]) -> None:
    with pytest.raises(NotEnoughData, match="say nothing"):
        AttributeEncoder.fit(items)


def test_values_are_read_from_a_row() -> None:
    row = {"genres": " Drama|War||", "year": 1994, "empty": " | ", "rate": math.nan, "none": None}
    columns = [*row, "absent"]
    attributes = item_attributes(row, columns, "|")
    assert attributes == {"genres": ("Drama", "War"), "year": 1994.0}
    assert attributes_from_json(attributes_to_json(attributes)) == attributes
    assert item_attributes({"a": "x, y"}, ["a"], ", ") == {"a": ("x", "y")}
    assert item_attributes({"a": math.inf}, ["a"], "|") == {}
