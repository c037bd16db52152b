"""A scoring that is killed on its way gives the table of one that never was."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest

from chronotope.contracts.predictions import PREDICTIONS, SCORING_KEY
from chronotope.lake import Lake
from chronotope.runtime.workspace import Workspace
from chronotope.scoring.score_users import score_users
from tests.inference.hand_made import fill_lake, register_twice
from tests.scoring.crowd import SUITES, add_events, config

pytestmark = pytest.mark.slow

N_USERS, BLOCK_USERS = 300, 2
KILLED_AFTER = (10, 30, 60)
"""Blocks of 150 that are there at each kill."""

COMMAND = """
import sys
from pathlib import Path
from chronotope.scoring.config import ScoringConfig
from chronotope.scoring.score_users import score_users
settings = {"root": Path(sys.argv[1]), "suites": Path(sys.argv[2]), "k": 5, "block_users": 2}
print(score_users("city", ScoringConfig(**settings)).n_resumed)
"""


def start(root: Path) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", COMMAND, str(root), str(SUITES)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own


def n_blocks(root: Path) -> int:
    return len(list(Workspace(root).scoring("city").glob("*/block-*.parquet")))


def kill_after(root: Path, blocks: int) -> None:
    process = start(root)
    deadline = time.monotonic() + 300
    while n_blocks(root) < blocks:
        assert process.poll() is None, "it ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert not Lake(Workspace(root).lake("city")).exists("predictions")


def rows_of(root: Path) -> pa.Table:
    columns = [name for name in PREDICTIONS.names if name != SCORING_KEY]  # of the given moment
    table = Lake(Workspace(root).lake("city")).read("predictions", columns=columns)
    return table.sort_by([("user_id", "ascending"), ("rank", "ascending")]).combine_chunks()


def test_three_kills_give_the_same_table(tmp_path: Path) -> None:
    root = tmp_path / "root"
    fill_lake(root)
    add_events(root, [f"w{n:03d}" for n in range(N_USERS)])
    register_twice(root)
    for blocks in KILLED_AFTER:
        kill_after(root, blocks)
    (torn,) = Workspace(root).scoring("city").glob("*/block-000007.parquet")
    torn.write_bytes(torn.read_bytes()[:100])  # what a disk may leave of a file
    process = start(root)
    n_resumed = int(process.communicate(timeout=300)[0])
    assert process.returncode == 0
    assert KILLED_AFTER[-1] * BLOCK_USERS - 2 <= n_resumed < N_USERS
    assert n_blocks(root) == 0
    killed = rows_of(root)
    (moment,) = killed["scored_at"].unique().to_pylist()

    whole = tmp_path / "whole"
    shutil.copytree(root / "data" / "lake", whole / "data" / "lake")
    shutil.rmtree(whole / "data" / "lake" / "city" / "predictions")
    shutil.copytree(root / "mlruns", whole / "mlruns")
    register = sys.modules["chronotope.registry.champion"]
    score_users(
        "city",
        config(whole, scored_at=moment),
        load=lambda _, name: register.load_champion(root, name),
    )
    assert len(killed) == 5 * (N_USERS + 3)
    assert rows_of(whole) == killed
