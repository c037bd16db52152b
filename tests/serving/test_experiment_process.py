"""The command with a design: two processes, and one started again, place every user alike."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.inference.hand_made import fill_lake, register_twice
from tests.serving.test_process import AT, COMMAND, Server

pytestmark = pytest.mark.slow

DESIGN = """
name: one
arms:
  - {name: old, share: 0.5, explore: {share: 0.3, kind: softmax}}
  - {name: new, share: 0.5, model: "2"}
  - {name: unseen, share: 1, model: "2", mode: shadow}
"""


def arms(server: Server) -> dict[str, tuple[str, str]]:
    """Arm and version of some users."""
    asked = [{"user_id": f"guest {n}", "request_time": AT} for n in range(12)]
    said: list[dict[str, Any]] = [server.post("/recommend", question) for question in asked]
    return {one["user_id"]: (one["arm"], one["version"]) for one in said}


def test_users_stay_in_their_arms_across_processes_and_restarts(tmp_path: Path) -> None:
    fill_lake(tmp_path)
    register_twice(tmp_path)
    (design := tmp_path / "design.yaml").write_text(DESIGN)
    words = ("--experiment", str(design), "--explore", "0.1")
    one, two = Server(tmp_path, *words), Server(tmp_path, *words)
    first = arms(one)
    assert set(first.values()) == {("old", "1"), ("new", "2")}
    assert arms(two) == first
    assert one.kill(signal.SIGKILL) == -signal.SIGKILL
    again = Server(tmp_path, *words)
    assert arms(again) == first
    assert [arm["fell_back"] for arm in again.get("/health")["arms"]] == [False] * 3
    for server in (two, again):
        assert server.kill(signal.SIGTERM) == -signal.SIGTERM
    design.write_text(DESIGN.replace("share: 0.5", "share: 0.5, model: '1'", 1))
    given = ["serve", "city", "--root", str(tmp_path), "--experiment", str(design)]
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", COMMAND, *given], capture_output=True, text=True, check=False
    )
    assert (done.returncode, "new name" in " ".join(done.stderr.split())) == (1, True), done.stderr
