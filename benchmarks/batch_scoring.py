"""Batch predictions of all users: users a second, memory, and the service user by user.

    python -m benchmarks.batch_scoring --champions /srv/shop:complete_journey --json FILE

Each champion is ``ROOT:DATASET``, a project root with a dataset that has a champion; its table
``predictions`` is written. Without the option, a simulated city is trained in a temporary folder.
Every dataset is scored by a process of its own, as of an hour after its last event, from the
start of the process's work to the commit: ``users_per_s`` is the rate of the blocks alone,
``seconds`` and ``cpu_s`` are those of the whole run. Then ``--sample`` users are asked for one by
one through the code of the service (``/recommend`` and ``/predict``, no HTTP) and compared with
the table: ``n_equal`` have the same items, order, reasons and places; ``max_difference`` and
``max_hours_difference`` are the largest relative differences of a probability and of the hours to
the next event. ``ratio`` is the
batch's users a processor second over the service's, both without loading. On a machine that
other programs use as well, the processor seconds (``cpu_s``) say more than the clock.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.rows import Row, at_least_one, write_rows
from chronotope.inference.recommend import N_PLACES
from chronotope.lake import Lake
from chronotope.registry.champion import journal_champion_version, load_champion, load_version
from chronotope.runtime.step_cache import peak_mb
from chronotope.runtime.workspace import Workspace
from chronotope.scoring.config import ScoringConfig, ScoringProgress
from chronotope.scoring.score_users import score_users
from chronotope.serving.api.app import Service
from chronotope.serving.api.predict_endpoint import predict
from chronotope.serving.api.requests import PredictRequest, RecommendRequest
from chronotope.serving.api.responses import PredictResponse, RecommendResponse
from chronotope.serving.settings import ServeSettings

CITY: Final = "simulated_city"
K: Final = 20
COLUMNS: Final = (
    "n_users",
    "n_items",
    "users_per_s",
    "users_per_cpu_s",
    "seconds",
    "cpu_s",
    "peak_mb",
    "service_users_per_cpu_s",
    "ratio",
    "n_equal",
    "max_difference",
    "max_hours_difference",
)
SHOWN: Final = ("n_users", "n_items", "users_per_cpu_s", "peak_mb", "ratio", "n_equal")
_PROJECT: Final = Path(__file__).parents[1]


def measure(root: Path, dataset: str, n_sample: int) -> Row:
    """Score all users of a dataset, then ask for some one by one.

    Args:
        root: Project root.
        dataset: Dataset with a champion.
        n_sample: Users to ask for one by one.
    """
    moment = after_last_event(root, dataset)
    n_items = load_champion(root, dataset).vocabulary.items.size - 1
    k = min(K, n_items)
    settings = {"root": root, "k": k, "scored_at": moment, "rescore_all": True}
    config = ScoringConfig.model_validate({**settings, "suites": _PROJECT / "expectations"})
    block_cpu_s: list[float] = []

    def note(progress: ScoringProgress) -> None:
        if progress.n_done in (0, progress.n_users):
            block_cpu_s.append(time.process_time())

    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    result = score_users(dataset, config, on_progress=note)
    row: Row = {
        "dataset": dataset,
        "n_users": result.n_scored,
        "n_items": n_items,
        "k": k,
        "users_per_s": result.users_per_s,
        "users_per_cpu_s": round(result.n_scored / (block_cpu_s[-1] - block_cpu_s[0]), 1),
        "seconds": round(time.perf_counter() - start_s, 1),
        "cpu_s": round(time.process_time() - start_cpu_s, 1),
        "peak_mb": round(peak_mb()),
    }
    asked = _ask_one_by_one(root, dataset, moment, k, n_sample)
    return row | asked | {"ratio": _ratio(row, asked)}


def _ratio(row: Row, asked: Row) -> float:
    return round(float(row["users_per_cpu_s"]) / float(asked["service_users_per_cpu_s"]), 2)


def after_last_event(root: Path, dataset: str) -> datetime:
    """An hour after the last event of a dataset.

    Args:
        root: Project root.
        dataset: Name of the dataset.
    """
    events = Lake(Workspace(root).lake(dataset)).dataset("events")
    last_event = pc.max(events.to_table(columns=["occurred_at"])["occurred_at"])
    last_s = last_event.cast(pa.int64()).as_py() // 1_000_000
    return datetime.fromtimestamp(last_s + 3600, UTC)


def _ask_one_by_one(root: Path, dataset: str, moment: datetime, k: int, n_sample: int) -> Row:
    """Rate of the service's code for single users, and the comparison with the table."""
    service_settings = ServeSettings(dataset=dataset, root=root, log_impressions=False)
    service = Service(service_settings, load_champion, journal_champion_version, load_version)
    service.watcher.poll()
    table = Lake(Workspace(root).lake(dataset)).read("predictions")
    user_ids = table["user_id"].unique().to_pylist()
    rng = np.random.default_rng(0)
    sample = [user_ids[i] for i in rng.permutation(len(user_ids))[:n_sample].tolist()]
    start_cpu_s, responses = time.process_time(), []
    for user_id in sample:
        fields = {"user_id": user_id, "request_time": moment, "k": k}
        recommend_request = RecommendRequest(**fields, explore=False)
        predict_request = PredictRequest(**fields, n_history=0, n_places=N_PLACES)
        responses.append(
            (
                service.recommend_endpoint.recommend(recommend_request),
                predict(service.inference_service, dataset, predict_request),
            )
        )
    cpu_s = time.process_time() - start_cpu_s
    service.interaction_log.close()
    compared = [_compare(table, *of_user) for of_user in responses]
    return {
        "n_sample": len(sample),
        "service_users_per_cpu_s": round(len(sample) / cpu_s, 1),
        "n_equal": sum(is_equal for is_equal, _, _ in compared),
        "max_difference": max(difference for _, difference, _ in compared),
        "max_hours_difference": max(difference for _, _, difference in compared),
    }


def _compare(
    table: pa.Table, recommended: RecommendResponse, predicted: PredictResponse
) -> tuple[bool, float, float]:
    """Whether stored rows equal the responses but for rounding; differences of the numbers."""
    rows = table.filter(pc.equal(table["user_id"], recommended.user_id)).sort_by("rank")
    first_row = rows.slice(0, 1).to_pylist()[0]
    stored_items = list(zip(rows["item_id"].to_pylist(), rows["reason"].to_pylist(), strict=True))
    served_items = [(item.id, item.reason) for item in recommended.items]
    stored_places = [place["place_id"] for place in first_row["places"]]
    served_places = [place.id for place in predicted.place_forecasts]
    time_curve = predicted.time_forecast
    is_equal = stored_items == served_items
    is_equal &= not stored_places or stored_places == served_places  # items may be the places
    is_equal &= (time_curve is None) == (first_row["next_event_median_h"] is None)
    probability_difference = _largest_difference(
        rows["probability"].to_pylist(), [item.probability for item in recommended.items]
    )
    if time_curve is None:
        return is_equal, probability_difference, 0.0
    stored_hours = [first_row[f"next_event_{name}_h"] for name in ("low", "median", "high")]
    served_hours = [time_curve.low_h, time_curve.median_h, time_curve.high_h]
    return is_equal, probability_difference, _largest_difference(stored_hours, served_hours)


def _largest_difference(stored: Sequence[float | None], served: Sequence[float | None]) -> float:
    """Largest relative difference of two lists; absolute where the second value is 0."""
    pairs = [
        (a, b) for a, b in zip(stored, served, strict=False) if a is not None and b is not None
    ]
    return max((abs(a / b - 1) if b else abs(a) for a, b in pairs), default=0.0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every champion in a process of its own, print a table, store the rows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batch_scoring", description=__doc__)
    parser.add_argument("--champions", nargs="+", default=[], metavar="ROOT:DATASET")
    parser.add_argument("--sample", type=at_least_one, default=200, help="users asked one by one")
    parser.add_argument("--json", type=Path, help="store the rows in this file")
    parser.add_argument("--only", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.only:
        root, _, dataset = options.champions[0].rpartition(":")
        print(json.dumps(measure(Path(root), dataset, options.sample)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        champions = options.champions or [train_city(Path(scratch))]
        rows = [_measured(champion, options.sample) for champion in champions]
    if options.json:
        write_rows(rows, options.json)
    Console().print(_table(rows))


def train_city(root: Path) -> str:
    """Train the simulated city below a root; returns ``ROOT:DATASET``.

    Args:
        root: Project root.
    """
    code = "from chronotope.cli.main import run; run()"
    words = ["train", CITY, "--config", "conf/training/quick.yaml", "--root", str(root), "--json"]
    command = [sys.executable, "-c", code, *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=_PROJECT)  # noqa: S603
    return f"{root}:{CITY}"


def _measured(champion: str, n_sample: int) -> Row:
    words = ["--only", "--champions", champion, "--sample", str(n_sample)]
    command = [sys.executable, "-m", "benchmarks.batch_scoring", *words]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603
    row: Row = json.loads(done.stdout.strip().splitlines()[-1])
    return row


def _table(rows: Sequence[Row]) -> Table:
    table = Table(title=f"Batch predictions, {K} items a user", box=box.SIMPLE_HEAD)
    table.add_column("dataset")
    for name in SHOWN:
        table.add_column(name.replace("_", " "), justify="right")
    for row in rows:
        texts = (f"{value:,}" if (value := row[name]) >= 1 else f"{value:.0e}" for name in SHOWN)
        table.add_row(str(row["dataset"]), *texts)
    return table


if __name__ == "__main__":
    main()
