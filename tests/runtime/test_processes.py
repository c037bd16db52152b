"""Programs are waited for, told apart when they fail, and none of them is left behind."""

import os
import socket
import sys
import time
from pathlib import Path

import pytest

from chronotope.contracts.errors import ChronotopeError, ConfigError
from chronotope.runtime.processes import (
    ManagedProcess,
    ProcessGroup,
    http_get_body,
    is_port_in_use,
    refuse_taken_ports,
)

NEVER = lambda: False  # noqa: E731


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def python(code: str, name: str = "Some Part") -> ManagedProcess:
    return ManagedProcess(name, (sys.executable, "-c", code), NEVER)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"


def test_a_part_is_ready_when_it_answers_and_is_gone_afterwards(tmp_path: Path) -> None:
    port = free_port()
    command = (sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1")
    part = ManagedProcess(
        "Files", command, lambda: http_get_body(port, "/") is not None, port, "--port"
    )
    with ProcessGroup(tmp_path / "logs", os.environ) as programs:
        programs.start(part)
        programs.wait_for("Files", 30)
        assert part.address == f"http://127.0.0.1:{port}"
        assert http_get_body(port, "/no-such-page") is None
        with pytest.raises(ConfigError, match=f"--port {port + 1}"):
            refuse_taken_ports([part])
    assert not is_port_in_use(port)
    refuse_taken_ports([part])


def test_a_part_that_ends_says_its_last_words(tmp_path: Path) -> None:
    with ProcessGroup(tmp_path, os.environ) as programs:
        programs.start(python("print('no disk left'); raise SystemExit(3)"))
        with pytest.raises(
            ChronotopeError, match=r"ended with code 3.*no disk left.*some-part.log"
        ):
            programs.wait_for("Some Part", 30)


def test_a_part_that_never_gets_ready_is_given_up(tmp_path: Path) -> None:
    with ProcessGroup(tmp_path, os.environ) as programs:
        programs.start(python("import time; time.sleep(60)"))
        with pytest.raises(ChronotopeError, match="not ready within 0 s"):
            programs.wait_for("Some Part", 0.2)


def test_children_and_the_stubborn_are_stopped_too(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = (
        "import os, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        "time.sleep(60)\n"
    )
    with ProcessGroup(tmp_path, os.environ, grace_s=0.5) as programs:
        programs.start(python(code))
        until = time.monotonic() + 30
        while not (pids.exists() and pids.read_text()) and time.monotonic() < until:
            time.sleep(0.02)
        leader, child = map(int, pids.read_text().split())
        assert is_alive(leader)
        assert is_alive(child)
    assert not is_alive(leader)
    time.sleep(0.2)
    assert not is_alive(child)
