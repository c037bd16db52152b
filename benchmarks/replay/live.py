"""The service in a process of its own, with an HTTP client."""

import http.client
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from chronotope.contracts.errors import ChronotopeError
from chronotope.runtime.processes import HOST, ManagedProcess, ProcessGroup, http_get_body

_COMMAND: Final = "from chronotope.cli.main import run; run()"
_PATIENCE_S: Final = 120.0
_POLL_S: Final = 0.2


class Live:
    """A client of a running service."""

    def __init__(self, port: int) -> None:
        """Connect at the first request."""
        self.port = port
        self._connection = http.client.HTTPConnection(HOST, port, timeout=60)

    def post(self, path: str, body: Any) -> Any:
        """Response of the service.

        Raises:
            ChronotopeError: It refuses.
        """
        try:
            status, said = self._exchange(path, json.dumps(body))
        except (OSError, http.client.HTTPException):  # it closes what was silent for seconds
            self._connection.close()
            status, said = self._exchange(path, json.dumps(body))
        if status != http.client.OK:
            raise ChronotopeError(f"{path} was refused", received=said[:500])
        return json.loads(said)

    def version(self) -> str | None:
        """Version of the served champion; None while there is none."""
        said = http_get_body(self.port, "/ready")
        return None if said is None else json.loads(said)["version"]

    def wait_for(self, version: str) -> None:
        """Wait until a version is served.

        Raises:
            ChronotopeError: It does not take over.
        """
        until = time.monotonic() + _PATIENCE_S
        while (now := self.version()) != version:
            if time.monotonic() > until:
                raise ChronotopeError("The service did not swap", received=now, way_out=version)
            time.sleep(_POLL_S)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _exchange(self, path: str, told: str) -> tuple[int, bytes]:
        self._connection.request("POST", path, told, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        return answer.status, answer.read()


@contextmanager
def serving(dataset: str, root: Path) -> Iterator[Live]:
    """Run ``chronotope serve`` on a free port until the end of the block."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        port = sock.getsockname()[1]
    words = ("serve", dataset, "--root", str(root), "--port", str(port), "--poll", "0.5")
    part = ManagedProcess(
        name="Service",
        command=(sys.executable, "-c", _COMMAND, *words),
        is_ready=lambda: http_get_body(port, "/ready") is not None,
        port=port,
    )
    with ProcessGroup(logs=root / "logs", env=os.environ) as programs:
        programs.start(part)
        programs.wait_for(part.name)
        live = Live(port)
        try:
            yield live
        finally:
            live.close()
