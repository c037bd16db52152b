"""Clients that send too much, too slowly or never read, against the command in its own process."""

import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.inference.hand_made import fill_lake, register_twice
from tests.serving.test_process import AT, Server

pytestmark = pytest.mark.slow

OPEN_FILES = 256
GET = b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n"
POST = b"POST /recommend HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99\r\n\r\n{"
QUESTION = {"user_id": "u00", "request_time": AT}
KEY_VARIABLE = "TEST_SERVICE_KEY"
LONGEST_STOP_S = 20.0


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("root")
    fill_lake(root)
    register_twice(root)
    return root


@pytest.fixture(scope="module")
def shared_server(root: Path) -> Iterator[Server]:
    server = Server(root, open_files=OPEN_FILES)
    try:
        yield server
    finally:
        server.kill(signal.SIGKILL)


@pytest.fixture
def server(shared_server: Server) -> Server:
    """The server, once it has closed the connections of the test before."""
    assert comes_true(lambda: n_connections(shared_server) == 0, 40), "connections stay open"
    return shared_server


@pytest.fixture
def connections() -> Iterator[ExitStack]:
    """Closes the connections of a test, also of one that fails."""
    with ExitStack() as stack:
        yield stack


def resident_mib(server: Server) -> float:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


def n_open_files(server: Server) -> int:
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


def n_connections(server: Server) -> int:
    """Connections that clients opened and the server has not closed."""
    established_or_half_closed = {"01", "08"}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    address = f"0100007F:{server.port:04X}"
    return sum(row[1] == address and row[3] in established_or_half_closed for row in rows)


def connect(server: Server, sent: bytes = b"") -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    sock.sendall(sent)
    return sock


def comes_true(condition: Callable[[], bool], patience_s: float) -> bool:
    end = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def n_answered(server: Server) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=10) as reply:
        lines = reply.read().decode().splitlines()
    counted = 'chronotope_requests_total{path="/openapi.json",status="200"}'
    return sum(int(float(line.split()[-1])) for line in lines if line.startswith(counted))


def ask_more_than_sockets_hold(server: Server, sock: socket.socket) -> None:
    """Ask and never read, until the service cannot write any more."""
    for n_asked in range(40, 4000, 40):
        sock.sendall((GET + b"\r\n") * 40)
        if not comes_true(lambda n_asked=n_asked: n_answered(server) >= n_asked, 5):  # type: ignore[misc]
            return
    pytest.fail("all answers were taken")


def send_without_end(server: Server, start: bytes, piece: bytes, n_bytes: int) -> int:
    """Send pieces until the service ends the connection; returns the bytes that were sent."""
    n_sent = 0
    with connect(server, start) as sock:
        try:
            while n_sent < n_bytes:
                sock.sendall(piece)
                n_sent += len(piece)
        except OSError:
            pass
    return n_sent


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (GET, b"X-A: " + b"a" * 60_000 + b"\r\n"),
        (GET + b"X-A: ", b"a" * 60_000),
        (b"GET /", b"a" * 60_000),
        (GET, b"X-A: b\r\n" * 8000),
    ],
)
def test_headers_without_end_take_no_memory(server: Server, start: bytes, piece: bytes) -> None:
    before = resident_mib(server)
    n_sent = [send_without_end(server, start, piece, 54_000_000) for _ in range(5)]
    assert max(n_sent) < 54_000_000
    assert resident_mib(server) < before + 40
    assert server.get("/health")["status"] == "running"


@pytest.mark.parametrize("sent", [GET, POST, GET + b"\r\n"])
def test_clients_that_hold_connections_shut_nobody_out(
    server: Server, connections: ExitStack, sent: bytes
) -> None:
    for _ in range(OPEN_FILES + 24):
        connections.enter_context(connect(server, sent))
    assert n_open_files(server) < OPEN_FILES - 64  # the lake and the log have theirs
    for _ in range(10):
        assert server.post("/recommend", QUESTION)["version"] == "1"
        assert server.get("/ready")["status"] == "ready"


def test_no_connection_is_held_for_long_by_a_request_that_does_not_come(
    server: Server, connections: ExitStack
) -> None:
    for sent in (b"", GET, GET + b"\r\n"):
        for _ in range(10):
            connections.enter_context(connect(server, sent))
    assert n_connections(server) >= 20
    assert comes_true(lambda: n_connections(server) <= 2, 40), "connections stay open"


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGINT, "1"), (signal.SIGTERM, "2")])
def test_a_client_that_never_reads_does_not_keep_the_service(
    root: Path, number: int, workers: str
) -> None:
    server = Server(root, "--workers", workers)
    with socket.socket() as sock, connect(server, POST), connect(server, GET):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        sock.connect(("127.0.0.1", server.port))
        ask_more_than_sockets_hold(server, sock)
        started = time.monotonic()
        server.kill(number)
        assert time.monotonic() - started < LONGEST_STOP_S


def statuses(server: Server, forwarded_for: list[str]) -> list[int]:
    """What wrong keys are answered, each said to come from another address."""
    answers = []
    for n, address in enumerate(forwarded_for):
        request = urllib.request.Request(
            f"http://127.0.0.1:{server.port}/metrics",
            headers={"X-API-Key": f"wrong{n}", "X-Forwarded-For": address},
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=10)  # noqa: S310 - our own
        answers.append(refused.value.code)
        refused.value.close()
    return answers


def test_only_a_proxy_that_was_named_says_who_asks(root: Path) -> None:
    words = ("--rate", "0.001", "--api-key-env", KEY_VARIABLE)
    addresses = [f"192.0.2.{n}" for n in range(40)]
    environment = {KEY_VARIABLE: "a key of this test", "FORWARDED_ALLOW_IPS": "*"}
    plain = Server(root, *words, env=environment)
    try:
        assert statuses(plain, addresses) == [401] * 20 + [429] * 20
    finally:
        plain.kill(signal.SIGTERM)
    behind = Server(root, *words, "--behind-proxy", "127.0.0.1", env=environment)
    try:
        assert statuses(behind, addresses) == [401] * 40
        assert statuses(behind, [f"{n}, 198.51.100.7" for n in addresses]) == (
            [401] * 20 + [429] * 20
        )
    finally:
        behind.kill(signal.SIGTERM)
