"""Files behind http addresses: bounded in time and size, whole or not at all, no stray copy."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.error import URLError
from urllib.request import Request

import pytest

from chronotope.contracts.errors import SourceError
from chronotope.datasets.files.download import _RedirectHandler, downloaded_file
from chronotope.datasets.locations import is_http_url
from chronotope.datasets.readers import read_events
from chronotope.datasets.table_spec import SourceLimits
from tests.datasets.test_readers import make_spec

CONTENT = b"who,what,when\n1,a,10\n"
STOP = Event()


class Handler(BaseHTTPRequestHandler):
    """Serves one file, and what servers do that mean ill."""

    def do_GET(self) -> None:
        """Answer as the path says."""
        kind, _, rest = self.path.lstrip("/").partition("/")
        getattr(self, f"serve_{kind.partition('.')[0]}")(rest)

    def serve_log(self, _: str) -> None:
        self.head(("Content-Length", str(len(CONTENT))))
        self.wfile.write(CONTENT)

    def serve_silence(self, _: str) -> None:
        STOP.wait(20)

    def serve_drops(self, _: str) -> None:
        self.head()
        self.trickle()

    def serve_drops_of_head(self, _: str) -> None:
        self.wfile.write(b"HTTP/1.0 200 OK\r\nX-Slow: ")
        self.trickle()

    def serve_flood(self, _: str) -> None:
        self.head()
        while not STOP.is_set():
            self.wfile.write(b"1,a,10\n" * 10_000)

    def serve_claim(self, _: str) -> None:
        self.head(("Content-Length", str(1 << 40)))
        STOP.wait(20)

    def serve_half(self, _: str) -> None:
        self.head(("Content-Length", str(2 * len(CONTENT))))
        self.wfile.write(CONTENT)

    def serve_to(self, where: str) -> None:
        self.head(("Location", where), code=302)

    def serve_circle(self, rest: str) -> None:
        self.head(("Location", f"/circle/{len(rest) * 'x'}x"), code=302)

    def serve_garbage(self, _: str) -> None:
        self.wfile.write(b"\0\xff" * 100 + b"\r\n\r\n")

    def head(self, *headers: tuple[str, str], code: int = 200) -> None:
        self.send_response(code)
        for header in headers:
            self.send_header(*header)
        self.end_headers()

    def trickle(self) -> None:
        while not STOP.wait(0.05):
            self.wfile.write(b"1")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """Connections that the other side gives up are no news."""

    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    STOP.clear()
    with Server(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        STOP.set()
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of the copies."""
    (folder := tmp_path / "copies").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@contextmanager
def within(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


def test_a_copy_is_whole_and_gone_afterwards(address: str, copies: Path) -> None:
    with downloaded_file(f"{address}/log.csv.gz?key=1", SourceLimits()) as copy:
        assert (copy.read_bytes(), copy.name) == (CONTENT, "log.csv.gz")
    assert list(copies.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "limits", "said"),
    [
        ("silence", {"timeout_s": 0.3}, "timed out"),
        ("drops", {"total_timeout_s": 0.5}, "longer than 0.5 s"),
        ("drops_of_head", {"total_timeout_s": 0.5}, "longer than 0.5 s"),
        ("flood", {"max_bytes": 1_000_000}, "larger than 1,000,000 bytes"),
        ("claim", {}, "larger than"),
        ("half", {}, "cut short"),
        ("to/file:///etc/passwd", {}, "not allowed"),
        ("to/ftp://127.0.0.1/log.csv", {}, "a scheme other than http"),
        ("to/gopher://127.0.0.1/", {}, "not allowed"),
        ("circle", {}, "infinite loop"),
        ("garbage", {}, "garbage"),
    ],
)
def test_what_servers_do_ends_with_a_clear_error(
    address: str, copies: Path, path: str, limits: dict[str, Any], said: str
) -> None:
    spec = make_spec(Path(), format="csv", path=f"{address}/{path}", limits=limits)
    with within(5), pytest.raises(SourceError, match=f"(?s)Cannot fetch the file.*{said}"):
        next(read_events(spec))
    assert list(copies.iterdir()) == []


def test_a_redirect_within_reach_is_followed(address: str) -> None:
    spec = make_spec(Path(), format="csv", path=f"{address}/to/{address}/log.csv")
    assert len(next(read_events(spec))) == 1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("http://93.184.216.34/", "http://127.0.0.1/", "a private address: 127.0.0.1"),
        ("http://93.184.216.34/", "http://[::1]/", "a private address"),
        ("http://93.184.216.34/", "http://169.254.169.254/latest", "a private address"),
        ("http://93.184.216.34/", "http://10.0.0.1/", "a private address"),
        ("https://10.0.0.2/", "http://10.0.0.1/", "from https to http"),
    ],
)
def test_a_stranger_sends_us_to_no_private_address(old: str, new: str, said: str) -> None:
    request = Request(old)  # noqa: S310
    with pytest.raises(URLError, match=said):
        _RedirectHandler().redirect_request(request, None, 302, "", {}, new)  # type: ignore[arg-type]


def test_the_environment_is_not_sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SECRET", "s3cret")
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        host = f"127.0.0.1:{listening.getsockname()[1]}"
        path = f"HTTP://{host}/$SECRET/${{SECRET}}.csv"
        spec = make_spec(tmp_path, format="csv", path=path, limits={"timeout_s": 0.3})
        with pytest.raises(SourceError, match="Cannot fetch"):
            next(read_events(spec))
        with listening.accept()[0] as connection:
            received = connection.recv(10_000)
    assert b"$SECRET" in received
    assert b"s3cret" not in received
    monkeypatch.setenv("ADDRESS", f"http://{host}/log.csv")
    with pytest.raises(SourceError, match="in an environment variable is not allowed"):
        next(read_events(make_spec(tmp_path, format="csv", path="$ADDRESS")))


@pytest.mark.parametrize("address", ["http://[::1", "http://", "http://a b/", "http://\u2100/"])
def test_what_is_no_address_is_an_error_of_ours(address: str) -> None:
    assert is_http_url(address)
    with pytest.raises(SourceError, match="Cannot fetch"):
        next(read_events(make_spec(Path(), format="csv", path=address)))


def test_a_password_in_an_address_is_not_shown(address: str) -> None:
    path = address.replace("http://", "http://ada:s3cret@") + "/none?password=hush5"
    with pytest.raises(SourceError) as caught:
        next(read_events(make_spec(Path(), format="csv", path=path)))
    assert "s3cret" not in str(caught.value)
    assert "hush5" not in str(caught.value)


DOWNLOAD = """
import sys
from chronotope.datasets.files.download import downloaded_file
from chronotope.datasets.table_spec import SourceLimits
print("begins", flush=True)
with downloaded_file(sys.argv[1], SourceLimits()):
    pass
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_a_download_and_its_copy_goes(
    address: str, copies: Path, number: signal.Signals
) -> None:
    words = [sys.executable, "-c", DOWNLOAD, f"{address}/drops"]
    environment = os.environ | {"TMPDIR": str(copies)}
    with subprocess.Popen(  # noqa: S603
        words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as child:
        wait_for(lambda: bool(list(copies.glob("*/part"))))
        with within(5):
            child.send_signal(number)
            assert child.wait() != 0
    with downloaded_file(f"{address}/log.csv", SourceLimits()):
        assert len(list(copies.iterdir())) == 1
    assert list(copies.iterdir()) == []


def wait_for(holds: Any) -> None:
    until = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_folder_that_cannot_be_written_is_an_error_of_ours(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file" / "below"))
    with pytest.raises(SourceError, match="Cannot fetch"), downloaded_file(address, SourceLimits()):
        pass
