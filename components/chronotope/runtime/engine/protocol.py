"""What every engine can do."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Engine(Protocol):
    """Does a function for many items."""

    @property
    def in_process(self) -> bool:
        """Whether tasks run here, one after the other; else they run elsewhere, side by side."""

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Results in the order of the items, whatever is finished first.

        Args:
            function: Computes the same for the same item, wherever it runs and however often:
                a task whose node was lost is done again. Elsewhere it sees no state of this
                process; it and its items travel, so they hold paths, not data.
            items: One a task.

        Raises:
            EngineError: A task was lost more often than it is retried.
            Exception: What the function raised, for the first item for which it did.
        """
