"""Executor of responses: in the event loop while they are fast, else in threads.

The hop into a thread and back costs a response of two milliseconds a tenth of its time, and
moves it between processor caches. A slow response in the event loop would delay all others.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

from chronotope.contracts.errors import StoreError
from chronotope.serving.tracing import step_span

FAST_RESPONSE_S = 0.010
"""Responses run in the event loop while their moving average is below, seconds."""

_AVERAGE_WEIGHT = 0.1  # weight of the latest response in the moving average
ResultT = TypeVar("ResultT")


class BoundedExecutor:
    """Thread pool with a time limit, bypassed for fast responses."""

    def __init__(self, threads: int, time_limit_s: float) -> None:
        """Threads start at the first use.

        Args:
            threads: Number of threads.
            time_limit_s: Time limit of a response, seconds.
        """
        self._time_limit_s = time_limit_s
        self._average_s: float | None = None  # unknown before the first response
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="response")

    async def run(self, function: Callable[..., ResultT], *args: Any) -> ResultT:
        """Run a function in a thread, cancelled after the time limit.

        Raises:
            StoreError: It took too long.
        """
        return await self._run_in_thread(_run_in_span, function, *args)

    async def _run_in_thread(self, function: Callable[..., ResultT], *args: Any) -> ResultT:
        in_context = copy_context().run  # spans of the thread belong to that of the request
        future = asyncio.get_running_loop().run_in_executor(self._pool, in_context, function, *args)
        try:
            async with asyncio.timeout(self._time_limit_s):
                return await future
        except TimeoutError:
            raise StoreError(
                "The response took too long",
                received=f"more than {self._time_limit_s:g} s",
                way_out="Retry; if it persists, give the service more threads",
            ) from None

    async def run_unbounded(self, function: Callable[[], ResultT]) -> ResultT:
        """Run a function in a thread without a time limit."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, function)

    async def run_fast(self, function: Callable[..., ResultT], *args: Any) -> ResultT:
        """Run a usually fast function in the event loop, or in a thread while it is slow.

        Raises:
            StoreError: It took too long in a thread.
        """
        if self._average_s is not None and self._average_s < FAST_RESPONSE_S:
            return self._run_timed(function, *args)
        return await self._run_in_thread(self._run_timed, function, *args)

    def stop(self) -> None:
        """Finish running functions and stop the threads."""
        self._pool.shutdown()

    def _run_timed(self, function: Callable[..., ResultT], *args: Any) -> ResultT:
        start_s = time.perf_counter()
        try:
            return _run_in_span(function, *args)
        finally:
            duration_s = time.perf_counter() - start_s
            average_s = duration_s if self._average_s is None else self._average_s
            self._average_s = average_s + _AVERAGE_WEIGHT * (duration_s - average_s)


def _run_in_span(function: Callable[..., ResultT], *args: Any) -> ResultT:
    work = function.func if isinstance(function, partial) else function
    with step_span(getattr(work, "__name__", "respond").strip("_")):
        return function(*args)
