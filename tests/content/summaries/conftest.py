"""A real endpoint on loopback, in a process of its own."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chronotope.datasets.content_spec import SummaryEndpoint


@dataclass(frozen=True)
class ChatServer:
    """Running server and the log of its requests."""

    port: int
    log_path: Path

    def settings(self, **changes: Any) -> SummaryEndpoint:
        return SummaryEndpoint(
            **{
                "base_url": f"http://127.0.0.1:{self.port}/v1",
                "model": "toy",
                "timeout_s": 10,
                "attributes": ("roast", "origin"),
            }
            | changes
        )

    def requests(self) -> list[dict[str, Any]]:
        if not self.log_path.exists():
            return []
        return [json.loads(line) for line in self.log_path.read_text().splitlines()]


@pytest.fixture
def chat_server(tmp_path: Path) -> Iterator[ChatServer]:
    script, log_path = Path(__file__).with_name("chat_server.py"), tmp_path / "requests.jsonl"
    with subprocess.Popen(  # noqa: S603
        [sys.executable, "-I", str(script), str(log_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        try:
            yield ChatServer(port, log_path)
        finally:
            process.kill()
