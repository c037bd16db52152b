"""A real S3 server on a free loopback port, gone behind the block."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree

import pytest

from tests.serving.redis_server import free_port

BUCKET = "lakes"
SECRET = "s3cret/of+a+store"  # noqa: S105 - of a server that lives for a test
DEADLINE_S = 120


@dataclass(frozen=True)
class S3:
    """A running server with one bucket."""

    port: int
    log: Path

    @property
    def environment(self) -> dict[str, str]:
        """What Delta, MLflow and whoever else reads S3 is told."""
        return {
            "AWS_ACCESS_KEY_ID": "ada",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
        }

    def keys(self, prefix: str = "") -> list[str]:
        """Names of the objects below a prefix."""
        found = self.asked("GET", f"/{BUCKET}?list-type=2&prefix={quote(prefix)}")
        return [str(each.text) for each in ElementTree.fromstring(found).iter() if _is_key(each)]  # noqa: S314

    def refused(self) -> list[str]:
        """Requests whose condition did not hold, such as a commit that came second."""
        return [line for line in self.log.read_text().splitlines() if '" 412 ' in line]

    def n_requests(self) -> int:
        """Requests that were answered so far."""
        return self.log.read_text().count(" HTTP/1.1")

    def asked(self, method: str, path: str) -> bytes:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        assert answer.status == 200, body
        return body


@contextmanager
def running_s3() -> Iterator[S3]:
    """Start a server with an empty bucket; skip where it is not installed."""
    pytest.importorskip("moto", reason="needs moto: the extra `test`")
    with tempfile.TemporaryDirectory(prefix="s3-") as folder:
        server = S3(free_port(), Path(folder) / "log")
        told = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(server.port)]
        with server.log.open("wb") as log:
            process = subprocess.Popen(told, stdout=log, stderr=log)  # noqa: S603 - our interpreter
        try:
            _wait_for(server, process)
            server.asked("PUT", f"/{BUCKET}")
            yield server
        finally:
            process.kill()
            process.wait(30)


def _is_key(element: ElementTree.Element) -> bool:
    return element.tag.endswith("}Key")


def _wait_for(server: S3, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + DEADLINE_S
    while time.monotonic() < until:
        assert process.poll() is None, server.log.read_text()
        try:
            server.asked("GET", "/moto-api/data.json")
        except OSError:
            time.sleep(0.02)
        else:
            return
    pytest.fail("The S3 server never listened")
