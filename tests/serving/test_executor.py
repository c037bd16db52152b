import asyncio
import threading
import time
from collections.abc import Awaitable, Callable

import pytest

from chronotope.contracts.errors import StoreError
from chronotope.serving import executor
from chronotope.serving.executor import BoundedExecutor


def with_computing(
    work: Callable[[BoundedExecutor], Awaitable[None]], limit_s: float = 10.0
) -> None:
    made = BoundedExecutor(2, limit_s)
    asyncio.run(_awaited(work(made)))
    made.stop()


async def _awaited(work: Awaitable[None]) -> None:
    await work


def test_short_answers_stay_where_they_were_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "FAST_RESPONSE_S", 60.0)

    async def ask(made: BoundedExecutor) -> None:
        first = await made.run_fast(threading.get_ident)
        then = await made.run_fast(threading.get_ident)
        assert (first == threading.get_ident(), then) == (False, threading.get_ident())

    with_computing(ask)


def test_long_answers_go_to_threads_and_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "FAST_RESPONSE_S", 0.005)

    async def ask(made: BoundedExecutor) -> None:
        await made.run_fast(time.sleep, 0.05)
        assert await made.run_fast(threading.get_ident) != threading.get_ident()
        with pytest.raises(StoreError, match="took too long"):
            await made.run_fast(time.sleep, 1.0)

    with_computing(ask, limit_s=0.5)


def test_one_long_answer_is_not_forgotten_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "FAST_RESPONSE_S", 0.02)

    async def ask(made: BoundedExecutor) -> None:
        await made.run_fast(time.sleep, 0.0)
        await made.run_fast(time.sleep, 0.4)  # the mean is above the bound now
        assert await made.run_fast(threading.get_ident) != threading.get_ident()

    with_computing(ask)


def test_errors_are_those_of_the_work() -> None:
    async def ask(made: BoundedExecutor) -> None:
        with pytest.raises(ZeroDivisionError):
            await made.run_fast(lambda: 1 // 0)

    with_computing(ask)
