"""Protocol of the task engines."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Engine(Protocol):
    """Task engine that maps a function over items."""

    @property
    def in_process(self) -> bool:
        """Whether tasks run sequentially in this process; otherwise in parallel, in others."""

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Results in the order of the items, independent of the order of completion.

        Args:
            function: Computes the same for the same item, wherever it runs and however often:
                a task whose node was lost is done again. Elsewhere it sees no state of this
                process; it and its items travel, so they hold paths, not data.
            items: Inputs, one per task.

        Raises:
            EngineError: A task was lost more often than it is retried.
            Exception: What the function raised, for the first item for which it did.
        """
