"""The benchmark of the main job measures the process that it starts, and reads its result."""

import subprocess
from pathlib import Path

import pytest

from benchmarks import main_job

TRAINING = """
import json, sys, time
assert sys.argv[1:3] == ["train", "{dataset}"], sys.argv
rows = bytearray(150 * 2**20)
time.sleep(1.2)
metrics = {{"chronotope": {{"ndcg_10": 0.3}}{rival}}}
print(json.dumps({{"evaluation": {{"metrics": metrics}}}}))
"""


def test_memory_is_that_of_the_training_and_the_ratio_that_of_the_holdout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rival = ', "tifu_knn": {"ndcg_10": 0.2}'
    monkeypatch.setattr(main_job, "CHRONOTOPE", TRAINING.format(dataset="shop", rival=rival))
    row = main_job.measure("shop", Path("quick.yaml"), tmp_path)
    assert (row["ndcg_10"], row["tifu_ratio"]) == (0.3, 1.5)
    assert row["total_mb"] > 150
    assert row["wall_s"] > 1


def test_a_log_without_baskets_has_no_ratio_and_a_failure_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(main_job, "CHRONOTOPE", TRAINING.format(dataset="town", rival=""))
    assert main_job.measure("town", Path("quick.yaml"), tmp_path)["tifu_ratio"] == ""
    with pytest.raises(subprocess.CalledProcessError):
        main_job.measure("other", Path("quick.yaml"), tmp_path)
