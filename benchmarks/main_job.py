"""Time, memory and accuracy of a whole training, from the files of a log to the promoted model.

    python -m benchmarks.main_job --json FILE
    python -m benchmarks.main_job --dataset simulated_city --config conf/training/quick.yaml

Runs ``chronotope train`` in a temporary root, by default as ``make demo`` does, and samples all of
its processes twice a second. ``total_mb`` is the largest sum of their memory at one moment, where a
page that several processes share counts once (PSS of ``/proc``); ``largest_mb`` is the peak of the
largest process alone, shared pages included. ``tifu_ratio`` is the NDCG@10 on the holdout over that
of TIFU-KNN.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from benchmarks.process_costs import measured_processes
from benchmarks.rows import Row, read_rows, rows_table, write_rows

CHRONOTOPE: Final = "from chronotope.cli.main import run; run()"
SHOWN: Final = ("dataset", "wall_s", "cpu_s", "total_mb", "largest_mb", "ndcg_10", "tifu_ratio")
_PROJECT: Final = Path(__file__).parents[1]


def measure(dataset: str, config_path: Path, root: Path) -> Row:
    """Train below a root, and measure what it takes.

    Args:
        dataset: Name in ``conf/datasets``.
        config_path: Training settings.
        root: Folder that all files are written below.

    Raises:
        CalledProcessError: The training failed; its messages are on standard error.
    """
    words = ["train", dataset, "--config", str(config_path), "--root", str(root), "--json"]
    store_url = f"sqlite:///{root}/mlruns/mlflow.db"
    began = time.perf_counter()
    with measured_processes() as costs:
        training = subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", CHRONOTOPE, *words],
            check=True,
            stdout=subprocess.PIPE,
            cwd=_PROJECT,
            env=os.environ | {"MLFLOW_BACKEND_STORE_URI": store_url},
        )
    result: dict[str, Any] = json.loads(training.stdout)
    return {
        "dataset": dataset,
        "config": str(config_path),
        "wall_s": round(time.perf_counter() - began, 1),
        "cpu_s": round(costs.total_cpu_s, 1),
        "total_mb": round(costs.total_mb),
        "largest_mb": round(costs.largest_mb),
        **_accuracy(result["evaluation"]["metrics"]),
    }


def _accuracy(metrics: dict[str, Any]) -> Row:
    """NDCG@10 on the holdout, and its ratio to that of TIFU-KNN where the log has baskets."""
    from chronotope.pipelines.holdout import CHALLENGER  # imports torch: after the measurement

    ndcg_10, rival = metrics[CHALLENGER]["ndcg_10"], metrics.get("tifu_knn")
    ratio = "" if rival is None else round(ndcg_10 / rival["ndcg_10"], 4)
    return {"ndcg_10": ndcg_10, "tifu_ratio": ratio}


def main(argv: Sequence[str] | None = None) -> None:
    """Command line; see the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="complete_journey", help="name in conf/datasets")
    parser.add_argument("--config", type=Path, default=Path("conf/training/demo.yaml"))
    parser.add_argument("--json", type=Path, help="add the row to this file")
    options = parser.parse_args(argv)
    rows = read_rows(options.json) if options.json else []
    with tempfile.TemporaryDirectory() as folder:
        row = measure(options.dataset, options.config, Path(folder))
    if options.json:
        write_rows([*rows, row], options.json)
    seconds = {name: f"{row[name]:.0f}" for name in ("wall_s", "cpu_s")}
    Console().print(rows_table("Main job", SHOWN, [row | seconds]))


if __name__ == "__main__":
    main()
