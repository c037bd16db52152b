"""Protocol of the task engines."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Engine(Protocol):
    """Task engine that maps a function over items."""

    @property
    def in_process(self) -> bool:
        """Whether tasks run one by one in this process; otherwise in parallel worker processes."""

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Results in the order of the items, independent of the order of completion.

        Args:
            function: Deterministic function of the item, since a task whose node was lost runs
                again. In a worker process it does not see the state of this process. It is
                serialised together with its item, so both should contain paths, not data.
            items: Inputs, one per task.

        Raises:
            EngineError: A task was lost more often than the maximum number of retries.
            Exception: The exception that the function raised for the first failing item.
        """
