"""Killed at any write of a collection, the next one ends as if nothing had been."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.feedback.test_intake import Cafe, event

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[2]
TAKE = """
import os, signal, sys
from pathlib import Path
from chronotope.feedback import intake
from chronotope.lake import Lake
from tests.feedback.test_intake import Cafe

where, name = {"quarantine": Lake, "merge_delivery": Lake, "write_watermark": intake}, sys.argv[2]
work, left = getattr(where[name], name), [int(sys.argv[3])]

def dying(*words, **more):
    found = work(*words, **more)
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return found

setattr(where[name], name, dying)
intake.run_intake(Cafe(Path(sys.argv[1]), batch_rows=40).intake)
"""


def filled(root: Path) -> Cafe:
    """Ninety events and some garbage in the log, ten more in a file."""
    cafe = Cafe(root, batch_rows=40)
    rows: list[dict[str, Any]] = [event(f"u{n % 9}", n) for n in range(90)]
    cafe.log([*rows[:50], {"user_id": "nobody"}, *rows[50:], {}])
    cafe.drop("a.jsonl", ['{"half": ', *(line(n) for n in range(85, 95))])
    return cafe


def without_identity(cafe: Cafe) -> dict[str, Any]:
    """The watermark but for the identities of its own lake and log."""
    return cafe.mark.model_dump(exclude={"events", "log"})


def line(n: int) -> str:
    at = event("u0", n)["occurred_at"]
    return f'{{"user_id": "u{n % 9}", "item_id": "i{n % 5}", "occurred_at": "{at}"}}'


@pytest.mark.parametrize("nth", [1, 3])
@pytest.mark.parametrize("after", ["quarantine", "merge_delivery", "write_watermark"])
def test_a_killed_collection_is_taken_up_again(tmp_path: Path, after: str, nth: int) -> None:
    calm, killed = filled(tmp_path / "calm"), filled(tmp_path / "killed")
    calm.take()
    words = [sys.executable, "-c", TAKE, str(tmp_path / "killed"), after, str(nth)]
    path = os.pathsep.join([str(PROJECT), str(PROJECT / "components")])
    env = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(words, cwd=PROJECT, env=env, capture_output=True, check=False)  # noqa: S603
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    killed.take()
    assert killed.sizes() == calm.sizes() == (95, 3)
    assert without_identity(killed) == without_identity(calm)
    for table, key in (("events", "event_id"), ("quarantine", "payload")):
        ours, theirs = (sorted(of.lake.read(table)[key].to_pylist()) for of in (killed, calm))
        assert ours == theirs
