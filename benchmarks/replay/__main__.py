"""Replay of a log as live traffic through the service and the feedback flow.

    python -m benchmarks.replay --dataset foursquare_nyc --rounds 15 --json replay.json

The first half of the log trains the first champion with ``train-model``. The rest comes in
rounds of equally many events: each event is posted to ``chronotope serve``, which also gets some
requests; then ``collect-feedback`` ingests the round, decides, retrains, and promotes a better
challenger, which the running service loads. The served champion is evaluated on every event of
the round whose user has a history, beside the first champion, which stays frozen. Histories are
live for both, the request time is given, and the whole catalogue is ranked. A replay that was
stopped, or ended by ``--after`` a round, continues from there.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.data_sets import add_data_option, load_data_set
from benchmarks.replay.live import serving
from benchmarks.replay.rounds import LEARNS, Replay
from benchmarks.replay.traffic import Traffic
from benchmarks.rows import at_least_one
from benchmarks.small import CITY, TRAINING
from chronotope.datasets.spec import DatasetSpec
from chronotope.pipelines.settings import TrainSettings, read_train_settings
from flows.private_server import run_by_hand

SETTLED: Final = 2
"""Rounds after which the served model has to be at least as good as the frozen one."""

QUICK_LEARNS: Final = LEARNS.model_copy(update={"min_rows": 1_200, "drift_psi": 1.0})
"""Every second of three rounds retrains."""


def main(words: Sequence[str] | None = None) -> None:
    """Replay, print a row for each round and write all rows to a file."""
    told = _parser().parse_args(words)
    replay = _replay(told)
    console = Console(width=max(Console().width, 110))
    rows: list[dict[str, Any]] = []
    with run_by_hand(replay.root):
        base = replay.begin()
        with serving(replay.name, replay.root) as live:
            for number in range(1, (told.after or told.rounds) + 1):
                rows.append(replay.play(number, live))
                _write(told.json, base, rows, replay)
    console.print(_table(rows, replay.overall([row["round"] for row in rows])))


def verdict(rows: Sequence[dict[str, Any]], overall: dict[str, Any]) -> dict[str, Any]:
    """Requirements of a replay, and whether each is met.

    Args:
        rows: Results of ``Replay.play``, one for each round.
        overall: Result of ``Replay.overall``.
    """
    return {
        "lost": sum(abs(row["lost"]) for row in rows),
        "rounds_behind": [
            row["round"] for row in rows if row["round"] > SETTLED and row["gain"]["estimate"] < 0
        ],
        "better_overall": overall["gain"]["estimate"] > 0,
    }


def _replay(told: argparse.Namespace) -> Replay:
    spec = _city() if told.quick else load_data_set(told.dataset, told.data)
    cut = f"{spec.name}-{told.base_share:g}-{told.rounds}"  # another cut is another replay
    root = (told.root / cut).resolve()
    settings = (
        TrainSettings.model_validate({**TRAINING, "root": root})
        if told.quick
        else read_train_settings(told.config, root)
    )
    traffic = Traffic.of(spec, base_share=told.base_share, n_rounds=told.rounds)
    return Replay(traffic, settings, told.requests, QUICK_LEARNS if told.quick else LEARNS)


def _city() -> DatasetSpec:
    about = {"description": "A city to replay.", "licence": "CC0-1.0", "event_type": "check_in"}
    told = {"name": "replayed_city", "city": CITY, "items_are_places": True, **about}
    return DatasetSpec.model_validate(told)


def _write(
    path: Path | None, base: dict[str, Any], rows: list[dict[str, Any]], replay: Replay
) -> None:
    if path is None:
        return
    overall = replay.overall([row["round"] for row in rows])
    found = {
        "dataset": replay.name,
        "protocol": "replay, time given, full catalogue, histories live",
        "seed": replay.settings.training.seed,
        "base": base,
        "rounds": rows,
        "overall": overall,
        "verdict": verdict(rows, overall),
    }
    path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.replay", description="A log replayed as live traffic."
    )
    parser.add_argument("--dataset", default="foursquare_nyc", help="name in conf/datasets or YAML")
    add_data_option(parser)
    parser.add_argument("--rounds", type=at_least_one, default=15, help="number of rounds")
    parser.add_argument(
        "--after", type=at_least_one, help="stop after this round; a later call continues"
    )
    parser.add_argument(
        "--base-share",
        type=float,
        default=0.5,
        help="share of the log that trains the first champion",
    )
    parser.add_argument(
        "--requests", type=int, default=200, help="recommendation requests in each round"
    )
    parser.add_argument(
        "--config",
        type=Path,
        default=Path("conf/training/replay.yaml"),
        help="settings of the trainings",
    )
    parser.add_argument(
        "--root", type=Path, default=Path("data/replay"), help="folder of all results"
    )
    parser.add_argument("--quick", action="store_true", help="smoke test on a small simulated city")
    parser.add_argument("--json", type=Path, help="write everything to this file")
    return parser


def _table(rows: Sequence[dict[str, Any]], overall: dict[str, Any]) -> Table:
    """Table of the rounds."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title="Served / frozen, time given")
    heads = ("round", "version", "events", "lost", "n", "Acc@1", "Acc@10", "NDCG@10", "gain")
    for head in (*heads, "decided", "s"):
        table.add_column(head, justify="left" if head == "decided" else "right", no_wrap=True)
    for row in rows:
        decision, promoted = row["decision"], row["promotion"]
        fate = f" → {promoted['version']}" if promoted and promoted["promoted"] else ""
        table.add_row(
            *map(str, (row["round"], row["version"], row["n_posted"], row["lost"])),
            *_numbers(row),
            f"{decision['action']} {decision['mode']}{fate}",
            f"{sum(row['seconds'].values()):.0f}",
        )
    table.add_section()
    lost = sum(row["lost"] for row in rows)
    posted = sum(row["n_posted"] for row in rows)
    table.add_row("all", "", str(posted), str(lost), *_numbers(overall), "", "")
    return table


def _numbers(row: dict[str, Any]) -> list[str]:
    both = [
        f"{row['served'][name]:.3f} / {row['frozen'][name]:.3f}"
        for name in ("acc_1", "acc_10", "ndcg_10")
    ]
    return [str(row["n_targets"]), *both, f"{row['gain']['estimate']:+.4f}"]


if __name__ == "__main__":
    main()
