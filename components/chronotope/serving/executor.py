"""Where answers are computed: where the question came in while they are short, else in threads.

A hop into a thread and back costs an answer of two milliseconds a tenth of its time, and moves
it between processors' caches. An answer that is long would keep all others waiting instead.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from chronotope.contracts.errors import StoreError

SHORT_S = 0.010
"""Answers that took less in the mean of late do not leave the loop."""

_LATEST = 0.1  # share of the latest answer in that mean
R = TypeVar("R")


class BoundedExecutor:
    """Threads with a time limit, and when to do without them."""

    def __init__(self, threads: int, time_limit_s: float) -> None:
        """Start the threads when they are needed.

        Args:
            threads: Long answers computed at a time.
            time_limit_s: A slower one is given up.
        """
        self._limit_s = time_limit_s
        self._mean_s: float | None = None  # nobody knows before the first one
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="answer")

    async def in_time(self, work: Callable[..., R], *given: Any) -> R:
        """Work in a thread, given up after the time limit.

        Raises:
            StoreError: It took too long.
        """
        future = asyncio.get_running_loop().run_in_executor(self._pool, work, *given)
        try:
            async with asyncio.timeout(self._limit_s):
                return await future
        except TimeoutError:
            raise StoreError(
                "The answer took too long",
                received=f"more than {self._limit_s:g} s",
                way_out="Ask again; if it stays so, give the service more threads",
            ) from None

    async def in_background(self, work: Callable[[], R]) -> R:
        """Work in a thread, however long it takes."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    async def at_once(self, work: Callable[..., R], *given: Any) -> R:
        """Work that is short as a rule: right here while it is, in a thread while it is not.

        Raises:
            StoreError: It took too long in a thread.
        """
        if self._mean_s is not None and self._mean_s < SHORT_S:
            return self._timed(work, *given)
        return await self.in_time(self._timed, work, *given)

    def stop(self) -> None:
        """Finish what is under way."""
        self._pool.shutdown()

    def _timed(self, work: Callable[..., R], *given: Any) -> R:
        started = time.perf_counter()
        try:
            return work(*given)
        finally:
            took_s = time.perf_counter() - started
            before_s = took_s if self._mean_s is None else self._mean_s
            self._mean_s = before_s + _LATEST * (took_s - before_s)
