"""The Prefect server of one command: with a password, behind the guard, gone afterwards."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from chronotope.contracts.errors import ConfigError
from chronotope.runtime.processes import http_get_body, is_port_in_use
from flows.private_server import private_server, run_by_hand

pytestmark = pytest.mark.slow


def test_it_answers_its_command_alone_and_ends_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    with private_server(tmp_path):
        url, password = PREFECT_API_URL.value() or "", PREFECT_API_AUTH_STRING.value()
        port = int(url.split(":")[2].split("/")[0])
        with get_client(sync_client=True) as client, run_by_hand(tmp_path):
            assert isinstance(client.read_flows(), list)  # the password opens it
        assert http_get_body(port, "/api/admin/version") is None
        assert http_get_body(port, "/api/admin/version", str(password)) is not None
        with temporary_settings({PREFECT_API_AUTH_STRING: "chronotope:guess"}):
            with pytest.raises(ConfigError, match="asks for a password") as refused:
                run_by_hand(tmp_path).__enter__()
            assert f"$(cat {tmp_path / 'data' / 'prefect-password'})" in str(refused.value)
    assert is_port_in_use(port) is False
    with temporary_settings({PREFECT_API_URL: url}), pytest.raises(ConfigError, match="not answer"):
        run_by_hand(tmp_path).__enter__()


NAMED_LATE = """
import sys
import os
import subprocess
import sys
from pathlib import Path
from flows.private_server import run_by_hand
assert "prefect" not in sys.modules  # so the private server starts before its settings are read
with run_by_hand(Path(), lambda: print("flow imported")):
    print("flow ran")
"""


def test_a_server_that_only_prefect_finds_named_is_used_instead(tmp_path: Path) -> None:
    (tmp_path / "prefect.toml").write_text('[api]\nurl = "http://127.0.0.1:9/api"\n')
    environment = {name: of for name, of in os.environ.items() if name != "PREFECT_API_URL"}
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", NAMED_LATE],
        cwd=tmp_path,
        env=environment
        | {"PYTHONPATH": os.pathsep.join(sys.path), "PREFECT_HOME": str(tmp_path / "prefect")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout == "flow imported\n"
    assert "The Prefect server does not answer" in done.stderr
    assert "127.0.0.1:9" in done.stderr
    assert (tmp_path / "data" / "logs" / "prefect-server.log").is_file()  # was started, and ended
