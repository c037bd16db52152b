"""Garbage of a block is freed at its end; what was there before is neither visited nor lost."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from chronotope.runtime.garbage import collect_afterwards


class Node:
    """An object that refers to itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def by_hand() -> Iterator[None]:
    """No collection but those of the tests, and nothing set aside by another test."""
    gc.unfreeze()
    gc.disable()
    yield
    gc.enable()
    gc.unfreeze()


def garbage() -> "weakref.ref[Node]":
    return weakref.ref(Node())


def test_the_garbage_of_the_block_is_freed_and_nothing_else_is_visited() -> None:
    earlier = garbage()
    with collect_afterwards():
        later = garbage()
        assert later() is not None
    assert later() is None
    assert earlier() is not None  # set aside meanwhile
    assert gc.get_freeze_count() == 0
    gc.collect()
    assert earlier() is None


def test_what_the_block_returns_survives() -> None:
    with collect_afterwards():
        result = Node()
    assert result.itself is result


def test_garbage_is_freed_after_an_error() -> None:
    made: list[weakref.ref[Node]] = []

    def failing() -> None:
        with collect_afterwards():
            made.append(garbage())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert made[0]() is None
    assert gc.get_freeze_count() == 0


def test_a_process_that_has_set_objects_aside_keeps_them_so() -> None:
    gc.freeze()
    with collect_afterwards():
        later = garbage()
    assert later() is None
    assert gc.get_freeze_count() > 0


def test_blocks_within_each_other_free_their_own() -> None:
    with collect_afterwards():
        outer = garbage()
        with collect_afterwards():
            inner = garbage()
        assert inner() is None
    assert outer() is None
    assert gc.get_freeze_count() == 0
