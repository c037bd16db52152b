"""The load of the serving benchmark: what is late counts as late, what fails as failed."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.rows import read_rows, write_rows
from benchmarks.serving.__main__ import _compare, main
from benchmarks.serving.champion import Served
from benchmarks.serving.load import Load
from chronotope.testing.recommender_suite import sample_catalog, sample_log

BUSY_S = 0.05


async def slow_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers one request after the other, each after ``BUSY_S``; ``bad`` is refused."""
    while head := await reader.readline():
        length = 0
        while (line := await reader.readline()) not in {b"\r\n", b""}:
            if line.lower().startswith(b"content-length"):
                length = int(line.split(b":")[1])
        body = await reader.readexactly(length)
        assert head.startswith(b"POST /ask HTTP/1.1")
        async with BUSY:
            await asyncio.sleep(BUSY_S)
        status = b"500 No" if b"bad" in body else b"200 OK"
        writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\n\r\nok")
    writer.close()
    await writer.wait_closed()


BUSY = asyncio.Lock()


def asked(bodies: list[str], loop: Callable[[Load], Awaitable[None]]) -> Load:
    async def run() -> Load:
        async with await asyncio.start_server(slow_server, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            load = Load(f"http://127.0.0.1:{port}/ask", bodies)
            await loop(load)
            await asyncio.sleep(0.01)  # the server sees the connections end
            return load

    return asyncio.run(run())


def test_an_open_loop_sees_a_service_fall_behind() -> None:
    load = asked(["{}"] * 6, lambda load: load.open_loop(rate=1000.0))
    waits = np.sort(load.seconds)
    assert (waits >= BUSY_S * (0.9 + np.arange(6))).all()  # each waits for all before it


def test_a_closed_loop_asks_when_it_was_answered() -> None:
    load = asked(["{}", '{"bad": 1}', "{}"], lambda load: load.closed_loop(clients=1))
    assert (max(load.seconds) < 2 * BUSY_S, load.failed) == (True, 1)


def test_the_overhead_is_told_against_the_bare_graph(tmp_path: Path) -> None:
    rows = [{"way": "chronotope", "alone_p50_ms": 3.25}, {"way": "bare", "alone_p50_ms": 2.0}]
    _compare(rows)
    assert (rows[0]["overhead_ms"], "overhead_ms" in rows[1]) == (1.25, False)
    write_rows(rows, tmp_path / "rows.json")
    assert read_rows(tmp_path / "rows.json") == rows


def test_histories_of_a_server_of_its_own_are_those_of_the_log(tmp_path: Path) -> None:
    log, catalog = sample_log(), sample_catalog()
    Served(tmp_path, tmp_path, log, catalog).write_histories(tmp_path / "histories.npz")
    told = np.load(tmp_path / "histories.npz", allow_pickle=False)
    for n, user in enumerate(told["user"].tolist()):
        rows = slice(*told["start"][n : n + 2])
        mine = log.user_idx == catalog.users.index([user])[0]
        np.testing.assert_array_equal(told["item_idx"][rows], log.item_idx[mine])
        np.testing.assert_array_equal(told["occurred_s"][rows], log.occurred_s[mine])


@pytest.mark.slow
def test_a_small_run_measures_the_service(tmp_path: Path) -> None:
    told = ["--items", "200", "--history", "32", "--requests", "20", "--root", str(tmp_path / "r")]
    main([*told, "--ways", "bare,chronotope", "--json", str(tmp_path / "rows.json")])
    bare, ours = json.loads((tmp_path / "rows.json").read_text())
    assert (ours["way"], ours["failed"], bare["history"]) == ("chronotope", 0, 32)
    assert 0 < ours["overhead_ms"] < 1000
