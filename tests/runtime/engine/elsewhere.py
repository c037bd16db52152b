"""An engine that behaves as a cluster does, without one."""

import pickle
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Elsewhere:
    """Takes all items at once, does the last first, and shares no object with its caller."""

    in_process = False

    def __init__(self) -> None:
        self.waves: list[int] = []

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        tasks = list(enumerate(items))
        self.waves.append(len(tasks))
        done = {at: sent(sent(function)(sent(item))) for at, item in reversed(tasks)}
        return iter([done[at] for at in range(len(tasks))])


def sent(value: Item) -> Item:
    """What arrives of a value elsewhere."""
    copy: Item = pickle.loads(pickle.dumps(value))  # noqa: S301 - our own
    return copy
