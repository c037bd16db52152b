"""Next place on Foursquare NYC: every model, every later check-in, full catalogue.

    python -m benchmarks.next_place --protocol stream --time hidden --json next_place.json

Block T0 trains; each check-in from the second of its trajectory in T1..T5 is a target,
predicted from the events before it. Parameters stay frozen after T0; histories are live and
global counts are updated before each of 15 rounds. ``chronotope_retrained`` is warm-started on
each round before it predicts the next.

    python -m benchmarks.next_place --protocol last_check_in --time given

is the protocol of the papers: the first 80 % of the check-ins train, and the last check-in of each
trajectory of the last 10 % is a target, if its user and its place occur in the training. Parameters
and counts are those of the training; a history holds all check-ins of the user before the target.

Parts of the model are chosen on every third target, ``--targets development``; ``--targets final``
are the other two thirds.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.data_sets import add_data_option, data_set_dir
from benchmarks.rows import some_of
from chronotope.artifact.hidden_time import RequestTimeMarginalized
from chronotope.artifact.onnx_recommender import ModelOutput
from chronotope.contracts.errors import SourceError
from chronotope.contracts.event_log import Catalog, EventLog, Int64
from chronotope.contracts.ids import IdMap
from chronotope.contracts.protocols import Recommender
from chronotope.contracts.queries import Queries
from chronotope.metrics import evaluate, summarise_metrics
from chronotope.models.baselines import (
    Ease,
    FirstOrderMarkov,
    GfCf,
    Popularity,
    PopularityLastDays,
    UserCounts,
)
from chronotope.models.config import BackboneKind, ModelConfig
from chronotope.training.config import TrainingConfig
from chronotope.training.recommender import ChronotopeRecommender


@dataclass(frozen=True, slots=True)
class RetrainedEachRound:
    """The model, warm-started on each round before it predicts the next."""

    model: ChronotopeRecommender

    @property
    def name(self) -> str:
        """Name shown in tables."""
        return f"{self.model.name}_retrained"

    @property
    def history_len(self) -> int | None:
        """Longest history the model reads."""
        return self.model.history_len

    def fit(self, log: EventLog, catalog: Catalog) -> Self:
        """Train on the base."""
        self.model.fit(log, catalog)
        return self

    def observe(self, log: EventLog) -> None:
        """Train on the new events, then add them to the state."""
        self.model.update(log)

    def scores(self, queries: Queries) -> npt.NDArray[np.floating]:
        """Scores by the latest parameters."""
        return self.model.scores(queries)

    def answer(self, queries: Queries) -> ModelOutput:
        """Item, time and place predictions by the latest parameters."""
        return self.model.answer(queries)


WITHIN_SESSION: Final = TrainingConfig(max_wait_h=24.0)
"""Trajectories end where nothing came for a day, so no target waited longer."""


def _own(
    seed: int, backbone: BackboneKind = "none", *, category_head: bool = False
) -> ChronotopeRecommender:
    beside = {} if backbone == "none" else {"d_model": 64, "backbone_len": 64}
    config = ModelConfig.model_validate(
        {"backbone": backbone, "category_head": category_head, **beside}
    )
    return ChronotopeRecommender(config, WITHIN_SESSION.model_copy(update={"seed": seed}))


MODELS: Final[dict[str, Callable[[int], Recommender]]] = {
    "popularity": lambda _: Popularity(),
    "popularity_7d": lambda _: PopularityLastDays(),
    "user_counts": lambda _: UserCounts(),
    "markov": lambda _: FirstOrderMarkov(),
    "ease": lambda _: Ease(),
    "gfcf": lambda _: GfCf(),
    "chronotope": lambda seed: RequestTimeMarginalized(_own(seed)),
    "chronotope_retrained": lambda seed: RequestTimeMarginalized(RetrainedEachRound(_own(seed))),
}
"""Makes each model from a seed."""

BESIDE: Final[dict[str, Callable[[int], Recommender]]] = {
    "chronotope_category_head": lambda seed: RequestTimeMarginalized(
        _own(seed, category_head=True)
    ),
    "chronotope_transformer": lambda seed: RequestTimeMarginalized(_own(seed, "transformer")),
    "chronotope_lightgcn": lambda seed: RequestTimeMarginalized(_own(seed, "lightgcn")),
}
"""More beside the kernels: measured only when they are named, a backbone takes twice as long."""

STREAM, LAST_CHECK_IN = PROTOCOLS = ("stream", "last_check_in")
PAPER_QUANTILES: Final = (0.8, 0.9)
"""Shares of the check-ins before the end of the training, and before the test."""

ALL, DEVELOPMENT, FINAL = TARGETS = ("all", "development", "final")
DEVELOPMENT_STRIDE: Final = 3
"""One of so many targets is used to choose among models."""

N_ROUNDS: Final = 15
TABLE_WIDTH: Final = 96
BASE_BLOCK: Final = "T0"
METRICS: Final = (
    "acc_1",
    "acc_5",
    "acc_10",
    "acc_20",
    "mrr",
    "discovery_acc_10",
    "return_acc_10",
)
HEADERS: Final = (
    "model",
    "acc@1",
    "@5",
    "@10",
    "@20",
    "MRR",
    "new@10",
    "seen@10",
    "train s",
    "eval s",
)

Row = dict[str, str | int | float]


@dataclass(frozen=True, slots=True)
class Stream:
    """A log cut for predict-then-update.

    Attributes:
        log: All events.
        base: Training events.
        catalog: Ids, categories and coordinates of the places.
        targets: Positions of the target events in ``log``, shape (n_targets,).
        rounds: Start of each round, UTC seconds, increasing; none: one evaluation without updates.
    """

    log: EventLog
    base: EventLog
    catalog: Catalog
    targets: Int64
    rounds: tuple[int, ...]


def read_stream(folder: Path) -> Stream:
    """Read the check-ins and places of a folder and cut them for the stream.

    Raises:
        SourceError: A file is missing.
    """
    checkins, pois = (_read(folder / name) for name in ("checkins.parquet", "pois.parquet"))
    catalog = _catalog(checkins, pois)
    items = catalog.items.index(checkins["venue_id"])
    blocks = IdMap.of(checkins["block"])
    log = EventLog.sorted(
        user_idx=catalog.users.index(checkins["user_id"]),
        item_idx=items,
        occurred_s=checkins["utc_time"].cast(pa.timestamp("s", tz="UTC")).cast(pa.int64()),
        utc_offset_min=checkins["tz_offset_min"],
        place_idx=items,
        session_idx=IdMap.of(checkins["traj_id"]).index(checkins["traj_id"]),
        context={"block": blocks.index(checkins["block"])},
    )
    in_base = log.context["block"] == blocks.index([BASE_BLOCK])[0]
    return Stream(
        log=replace(log, context={}),
        base=replace(log, context={}).take(in_base),
        catalog=catalog,
        targets=np.flatnonzero(~in_base & ~_opens_session(log)),
        rounds=_round_starts(log.occurred_s[~in_base]),
    )


def last_check_ins(stream: Stream) -> Stream:
    """The same log under the papers' protocol: one target for each late trajectory.

    Args:
        stream: The log, whose catalogue names every place.
    """
    log = stream.log
    train_end_s, test_start_s = np.quantile(log.occurred_s, PAPER_QUANTILES)
    base = log.take(log.occurred_s <= train_end_s)
    late = np.flatnonzero(log.occurred_s > test_start_s)  # ordered by user and time
    sessions = log.session_idx[late]
    is_last = np.append(sessions[1:] != sessions[:-1], True)
    has_earlier = np.insert(sessions[1:] == sessions[:-1], 0, False)
    targets = late[is_last & has_earlier]
    is_known = np.isin(log.user_idx[targets], base.user_idx)
    is_known &= np.isin(log.item_idx[targets], base.item_idx)
    return replace(stream, base=base, targets=targets[is_known], rounds=())


def some_targets(stream: Stream, part: str) -> Stream:
    """The same stream with the targets of one part.

    Args:
        stream: All targets.
        part: One of ``TARGETS``.
    """
    if part == ALL:
        return stream
    is_development = np.arange(len(stream.targets)) % DEVELOPMENT_STRIDE == 0
    return replace(stream, targets=stream.targets[is_development == (part == DEVELOPMENT)])


def measure(model: Recommender, stream: Stream, *, time_given: bool, protocol: str = STREAM) -> Row:
    """Fit one model on the base, run it over the stream, and return its row."""
    started = time.perf_counter()
    model.fit(stream.base, stream.catalog)
    trained = time.perf_counter()
    outcomes = evaluate(
        model,
        stream.log,
        stream.targets,
        n_items=stream.catalog.n_items,
        time_given=time_given,
        rounds=stream.rounds or None,
    )
    summary = summarise_metrics(outcomes)
    row: Row = {
        "model": model.name,
        "protocol": protocol,
        "time": "given" if time_given else "hidden",
        "n_targets": len(stream.targets),
    }
    row |= {name: summary[name] for name in METRICS}
    seconds = {"train_s": trained - started, "eval_s": time.perf_counter() - trained}
    return row | {name: round(value, 3) for name, value in seconds.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the chosen models, print a table and write the rows."""
    chosen = _parser().parse_args(arguments)
    stream = read_stream(data_set_dir("foursquare_nyc", chosen.data))
    stream = last_check_ins(stream) if chosen.protocol == LAST_CHECK_IN else stream
    stream = some_targets(stream, chosen.targets)
    console = Console(width=max(Console().width, TABLE_WIDTH))
    about = {"seed": chosen.seed, "targets": chosen.targets}
    rows = [
        about
        | measure(
            (MODELS | BESIDE)[name](chosen.seed),
            stream,
            time_given=chosen.time == "given",
            protocol=chosen.protocol,
        )
        for name in track(chosen.models, "Measuring", console=console, transient=True)
    ]
    console.print(_table(rows))
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.next_place", description="Next place on Foursquare NYC."
    )
    add_data_option(parser)
    parser.add_argument("--protocol", choices=PROTOCOLS, default=STREAM)
    parser.add_argument("--time", choices=["hidden", "given"], default="hidden")
    parser.add_argument("--targets", choices=TARGETS, default=ALL)
    parser.add_argument("--seed", type=int, default=0, help="seed of every training")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument(
        "--models",
        type=some_of(MODELS | BESIDE),
        default=list(MODELS),
        help=f"some of {','.join(MODELS | BESIDE)}",
    )
    return parser


def _read(path: Path) -> pa.Table:
    if not path.is_file():
        raise SourceError(
            "A file of the check-ins is missing",
            received=path,
            way_out="docs/data-sets.md lists the files of the data set",
        )
    return pq.read_table(path)


def _catalog(checkins: pa.Table, pois: pa.Table) -> Catalog:
    items = IdMap.of(checkins["venue_id"])
    categories = IdMap.of(pois["category"])
    rows = IdMap(pois["venue_id"].cast(pa.string()).combine_chunks()).index(items.ids) - 1
    found = np.flatnonzero(rows >= 0)

    def of_item(values: npt.NDArray[Any], unknown: float) -> npt.NDArray[Any]:
        column = np.full(items.size, unknown, dtype=values.dtype)
        column[found + 1] = values[rows[found]]
        return column

    lat, lon = (of_item(pois[name].to_numpy(), np.nan) for name in ("lat", "lon"))
    return Catalog(
        users=IdMap.of(checkins["user_id"]),
        items=items,
        places=items,
        categories=categories,
        item_category=of_item(categories.index(pois["category"]), 0),
        item_lat=lat,
        item_lon=lon,
        place_lat=lat,
        place_lon=lon,
        items_are_places=True,
    )


def _opens_session(log: EventLog) -> npt.NDArray[np.bool_]:
    """Whether each event is the first of its trajectory, shape (n_events,)."""
    first = np.zeros(len(log), dtype=np.bool_)
    first[np.unique(log.session_idx, return_index=True)[1]] = True
    return first


def _round_starts(occurred_s: Int64) -> tuple[int, ...]:
    """Starts of rounds with equally many events each, in time order."""
    ordered = np.sort(occurred_s)
    at = np.arange(N_ROUNDS) * len(ordered) // N_ROUNDS
    return tuple(ordered[at].tolist())


def _table(rows: Sequence[Row]) -> Table:
    """Table of the rows."""
    protocol, time_name, n_targets = (rows[0][name] for name in ("protocol", "time", "n_targets"))
    title = f"Next place, {protocol}, time {time_name}, {n_targets:,} targets"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for header in HEADERS:
        table.add_column(header, justify="left" if header == "model" else "right", no_wrap=True)
    for row in rows:
        numbers = [f"{row[name]:.3f}" for name in METRICS]
        table.add_row(str(row["model"]), *numbers, f"{row['train_s']:.1f}", f"{row['eval_s']:.1f}")
    return table


if __name__ == "__main__":
    main()
