"""A disk that fills up at any step, is full, or may not be written: said in one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL

from tests.behaviour.shop import GOOD, YAML, Shop, refusal_of

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
@pytest.mark.parametrize("step", ["ingest_source", "build_lake_snapshot"])
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
    assert "The disk is full" in refusal_of(done.stderr)
    assert len(shop.lake.read("events")) in {len(GOOD), len(GOOD) + 200}
    assert shop.ingest()["n_good"] == len(GOOD) + 200


MOUNTED = """
mkdir -p "$1" && mount -t tmpfs -o "$2" tmpfs "$1" || exit 77
case "$3" in
  filled) dd if=/dev/zero of="$1/filling" bs=1k 2>/dev/null ;;
  read-only) mount -o remount,ro "$1" ;;
esac
shift 3
exec "$@"
"""
CHRONOTOPE = "from chronotope.cli.main import run; run()"
ON_A_SMALL_DISK = (
    ("ingest", "size=300k", "as it is", "data docs could not be written"),
    ("train", "size=64k", "filled", "The disk is full"),
    ("feedback", "size=1m,nr_inodes=1", "as it is", "The disk is full"),
    ("feedback", "size=64k", "read-only", "read-only"),
)


@pytest.mark.slow
@pytest.mark.parametrize(("command", "options", "state", "what"), ON_A_SMALL_DISK)
def test_a_root_that_takes_nothing_is_said_in_one_line(
    prefect: None, shop: Shop, command: str, options: str, state: str, what: str
) -> None:
    shop.write(*GOOD)
    spec = YAML.format(folder=shop.folder, format="csv")
    (shop.folder / "shop.yaml").write_text(spec, encoding="utf-8")
    mounting = ("unshare", "-rm", "sh", "-c", MOUNTED, "sh", shop.root, options, state)
    told = (sys.executable, "-c", CHRONOTOPE, command, shop.folder / "shop.yaml")
    env = {**os.environ, "PREFECT_API_URL": PREFECT_API_URL.value() or ""}
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter
            [str(word) for word in (*mounting, *told, "--root", shop.root)],
            cwd=PROJECT,
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
    except FileNotFoundError:
        pytest.skip("no unshare here")
    if done.returncode == 77 or "unshare: " in done.stderr:
        pytest.skip("no disk can be mounted here")
    assert done.returncode == 1, done.stderr
    assert what in refusal_of(done.stderr)
    assert len(done.stderr.splitlines()) <= 2, done.stderr
