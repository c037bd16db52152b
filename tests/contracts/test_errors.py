"""The error tree and its messages."""

import inspect

import pytest

from chronotope.contracts import errors
from chronotope.contracts.errors import ChronotopeError, DataError, SchemaError


def drawn_parents() -> dict[str, str | None]:
    """Read class and parent from the tree drawn on top of the file."""
    branch: list[str] = []
    parents: dict[str, str | None] = {}
    for line in (errors.__doc__ or "").splitlines():
        body = line.lstrip("│├└─ ")
        name = body.split(" ")[0]
        if line == "ChronotopeError" or line.startswith(("├", "└", "│")):
            depth = (len(line) - len(body)) // 4
            branch = [*branch[:depth], name]
            parents[name] = branch[-2] if depth else None
    return parents


def real_parents() -> dict[str, str | None]:
    classes = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    return {
        kind.__name__: None if kind is ChronotopeError else kind.__base__.__name__
        for kind in classes
    }


def test_the_drawing_is_the_tree() -> None:
    drawn = drawn_parents()
    assert len(drawn) == 11
    assert drawn == real_parents()


def test_a_message_says_what_what_was_received_and_the_way_out() -> None:
    error = SchemaError("Column 'lat' is missing", received=["a", "b"], way_out="Map it")
    assert str(error) == "Column 'lat' is missing. Received: ['a', 'b']. Map it."


def test_nothing_is_said_of_what_is_absent() -> None:
    assert str(DataError("Too short.")) == "Too short."


@pytest.mark.parametrize("falsy", [0, "", False, []])
def test_a_falsy_value_was_received_all_the_same(falsy: object) -> None:
    assert "Received:" in str(DataError("Wrong", received=falsy))


def test_a_megabyte_received_is_shown_shortened() -> None:
    message = str(DataError("Wrong", received="x" * 1_000_000, way_out="Cut it"))
    assert len(message) < 350
    assert message.startswith("Wrong. Received: xxx")
    assert message.endswith("Cut it.")
