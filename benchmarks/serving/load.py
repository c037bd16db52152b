"""Load generator: sends HTTP requests from a process of its own and writes their times.

``--rate R`` is an open loop: request n is due at n / R seconds whether others are done or not,
and its time counts from that instant, so that queueing is measured. Without a rate,
``--clients`` send requests in a closed loop, each as soon as its last response arrived.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlparse

_CONNECTIONS = 64  # of an open loop; none waits for another below that many unanswered


@dataclass
class Load:
    """Requests to send, and their results.

    Attributes:
        address: URL, such as ``http://127.0.0.1:8000/recommend``.
        bodies: Request bodies, in turn.
        seconds: Time of each response.
        failed: Number of responses other than 200.
    """

    address: str
    bodies: list[str]
    seconds: list[float] = field(default_factory=list)
    failed: int = 0

    async def open_loop(self, rate: float) -> None:
        """Send all requests, ``rate`` a second."""
        async with _connected(self.address, _CONNECTIONS) as free:
            start = time.perf_counter() + 0.1
            async with asyncio.TaskGroup() as tasks:
                for n, body in enumerate(self.bodies):
                    due = start + n / rate
                    await asyncio.sleep(max(0.0, due - time.perf_counter()))
                    tasks.create_task(self._one(free, body, due))

    async def closed_loop(self, clients: int) -> None:
        """Send all requests, each client after its last response."""
        waiting = iter(self.bodies)

        async def client() -> None:
            async with _connected(self.address, 1) as free:
                for body in waiting:
                    await self._one(free, body, time.perf_counter())

        await asyncio.gather(*(client() for _ in range(clients)))

    async def _one(self, free: "asyncio.Queue[_Connection]", body: str, due: float) -> None:
        connection = await free.get()
        status = await connection.ask(body)
        self.seconds.append(time.perf_counter() - due)
        self.failed += status != 200
        free.put_nowait(connection)


@dataclass
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    head: str

    @classmethod
    async def to(cls, address: str) -> "_Connection":
        parts = urlparse(address)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        head = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        return cls(reader, writer, f"{head}Content-Type: application/json\r\nContent-Length: ")

    async def ask(self, body: str) -> int:
        """Send a request; returns the status of the response."""
        content = body.encode()
        self.writer.write(f"{self.head}{len(content)}\r\n\r\n".encode() + content)
        told = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = told.split("content-length:")[1].split("\r\n")[0]
        await self.reader.readexactly(int(length))
        return int(told.split()[1])


@asynccontextmanager
async def _connected(address: str, n: int) -> "AsyncIterator[asyncio.Queue[_Connection]]":
    """Pool of connections."""
    opened = [await _Connection.to(address) for _ in range(n)]
    free: asyncio.Queue[_Connection] = asyncio.Queue()
    for connection in opened:
        free.put_nowait(connection)
    try:
        yield free
    finally:
        for connection in opened:
            connection.writer.close()
            await connection.writer.wait_closed()


def main() -> None:
    """Read bodies, a JSON list, from standard input; write times to standard output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("--rate", type=float)
    parser.add_argument("--clients", type=int, default=1)
    told = parser.parse_args()
    load = Load(told.address, [json.dumps(body) for body in json.load(sys.stdin)])
    started = time.perf_counter()
    asyncio.run(load.open_loop(told.rate) if told.rate else load.closed_loop(told.clients))
    passed = time.perf_counter() - started
    json.dump({"seconds": load.seconds, "failed": load.failed, "passed_s": passed}, sys.stdout)


if __name__ == "__main__":
    main()
