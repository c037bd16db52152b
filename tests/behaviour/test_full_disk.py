"""A disk that fills up at any step of an ingestion: the earlier version stays whole."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL

from tests.behaviour.shop import GOOD, Shop, refusal_of

PROJECT = Path(__file__).parents[2]
LIMITED = """
import resource, signal, sys
from chronotope.cli.main import app
from flows import ingest_events
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
real = getattr(ingest_events, sys.argv[1])

def full(*given, **named):
    resource.setrlimit(resource.RLIMIT_FSIZE, (400, 400))
    return real(*given, **named)

setattr(ingest_events, sys.argv[1], full)
app(sys.argv[2:])
"""


@pytest.mark.slow
@pytest.mark.parametrize("step", ["ingest", "build_features"])
def test_a_full_disk_leaves_the_previous_version_whole(
    prefect: None, shop: Shop, step: str
) -> None:
    shop.write(*GOOD)
    shop.ingest()
    shop.write(*GOOD, *(("eve", f"i{n}", "2024-01-09", 48.2, 16.4, n) for n in range(200)))
    told = ["ingest", shop.folder / "shop.yaml", "--root", shop.root]
    command = [str(word) for word in (sys.executable, "-c", LIMITED, step, *told)]
    env = {**os.environ, "PREFECT_API_URL": PREFECT_API_URL.value() or ""}
    done = subprocess.run(  # noqa: S603 - our own interpreter
        command, cwd=PROJECT, env=env, capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 1
    assert "Check free disk space" in refusal_of(done.stderr)
    assert len(shop.lake.read("events")) in {len(GOOD), len(GOOD) + 200}
    assert shop.ingest()["n_good"] == len(GOOD) + 200
