"""What an export costs the first time and after that, and a recommendation by length of history.

    python -m benchmarks.export --items 5000 --json FILE

``bare`` traces a network with its weights by ``torch.onnx.export``, for one length of history.
``first`` traces the graph of an architecture with an empty cache; ``bound`` puts other weights
into it. Both graphs then answer the same queries, one at a time and in turn. Times are processor
time of one thread: seconds of one export, and median milliseconds of a query.
"""

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from benchmarks.rows import Row, at_least_one, some_of, write_rows
from chronotope.artifact.bundle import MODEL, read_manifest, write_bundle
from chronotope.artifact.onnx_recommender import OnnxRecommender, open_session
from chronotope.compression.export import OUTPUT_NAMES, export_onnx
from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.contracts.ids import IdMap
from chronotope.contracts.queries import queries_at
from chronotope.models.batch import INPUT_NAMES, Batch
from chronotope.models.config import BACKBONES, ModelConfig
from chronotope.models.network import ChronotopeNet
from chronotope.models.priors import Priors, count_priors
from chronotope.runtime.file_cache import MemoryCache

HISTORY_LEN: Final = 1024
LENGTHS: Final = (8, 64, 256, HISTORY_LEN)
"""Events of the histories of the timed queries."""

N_USERS: Final = 8
N_WARM: Final = 20
LATENCIES: Final = tuple(f"{kind}_{length}_ms" for length in LENGTHS for kind in ("bare", "bound"))
LATENCY_COLUMNS: Final = ("family", "events", "bare_ms", "bound_ms", "ratio")
COLUMNS: Final = ("family", "bare_s", "first_s", "bound_s", "ratio", "bare_mb", "bound_mb")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the chosen families, print two tables and keep them as JSON."""
    chosen = parser().parse_args(arguments)
    torch.set_num_threads(1)
    rows = [row_of(family, chosen.items, chosen.runs) for family in chosen.families]
    show(f"Exports, {chosen.items:,} items", COLUMNS, rows)
    show("One query", LATENCY_COLUMNS, [latency for row in rows for latency in by_length(row)])
    if chosen.json is not None:
        write_rows([{"items": chosen.items, **row} for row in rows], chosen.json)


def show(title: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Print rows as a table, the family first."""
    shown = Table(title=title, box=box.SIMPLE_HEAD)
    for column in columns:
        shown.add_column(column, justify="left" if column == "family" else "right")
    for row in rows:
        numbers = (row[column] for column in columns[1:])
        shown.add_row(
            row["family"], *(f"{x:,}" if isinstance(x, int) else f"{x:.3f}" for x in numbers)
        )
    Console().print(shown)


def by_length(row: Row) -> Iterator[Row]:
    """Latencies of a family, one row a length."""
    for length in LENGTHS:
        bare_ms, bound_ms = row[f"bare_{length}_ms"], row[f"bound_{length}_ms"]
        costs = {"bare_ms": bare_ms, "bound_ms": bound_ms, "ratio": bare_ms / bound_ms}
        yield {"family": row["family"], "events": length, **costs}


def row_of(family: str, n_items: int, n_runs: int) -> Row:
    """Cost of the exports of one family, and of recommendations by either graph."""
    config = ModelConfig.model_validate({"history_len": HISTORY_LEN, "backbone": family})
    catalog = catalogue(n_items)
    log = random_log(n_items)
    net, priors = ChronotopeNet(config, catalog).eval(), count_priors(log, catalog)
    cache = MemoryCache()
    with tempfile.TemporaryDirectory() as scratch:
        bare, bound = Path(scratch) / "bare", Path(scratch) / "bound"
        for folder in (bare, bound):
            folder.mkdir()
        bare_s = _processor_s(lambda: bare_export(net, priors, bare / MODEL))
        first_s = _processor_s(lambda: export_onnx(net, priors, bound / MODEL, cache))
        net.time_head.copy_weights.data.normal_()
        bound_s = _processor_s(lambda: export_onnx(net, priors, bound / MODEL, cache))
        sizes = {
            f"{folder.name}_mb": (folder / MODEL).stat().st_size / 1e6 for folder in (bare, bound)
        }
        latencies = _latencies(
            {"bare": _open(bare, catalog), "bound": _open(bound, catalog)}, log, n_runs
        )
    costs = {"bare_s": bare_s, "first_s": first_s, "bound_s": bound_s, "ratio": first_s / bound_s}
    return {"family": family, **costs, **sizes, **latencies}


class _FixedLength(nn.Module):
    """A network with its priors as buffers, as an exporter takes it without further ado."""

    def __init__(self, net: ChronotopeNet, priors: Priors) -> None:
        super().__init__()
        self.net = net
        for name, table in priors._asdict().items():
            self.register_buffer(name, table)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Item scores, time mixture and place scores."""
        priors = Priors(*(getattr(self, name) for name in Priors._fields))
        no_context = inputs[-1][:, None][:, :0]
        no_items = no_context.long()
        all_inputs = (*inputs, no_context, no_items, no_items[..., None])
        batch = Batch(**dict(zip(INPUT_NAMES, all_inputs, strict=True)))
        return tuple(self.net(batch, priors))


def bare_export(net: ChronotopeNet, priors: Priors, path: Path) -> None:
    """Trace a network with its weights, for one length of history."""
    history_len, batch_dim = net.config.history_len, torch.export.Dim("batch", min=1, max=65_536)
    histories = [torch.ones(2, history_len, dtype=torch.int64) for _ in range(4)]
    requests = [torch.ones(2, dtype=torch.int64) for _ in range(3)]
    inputs = (*histories, *requests, torch.ones(2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _FixedLength(net, priors).eval(),
            inputs,
            str(path),
            input_names=list(INPUT_NAMES[: len(inputs)]),
            output_names=list(OUTPUT_NAMES),
            dynamic_shapes=(tuple({0: batch_dim} for _ in inputs),),
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def catalogue(n_items: int) -> Catalog:
    """Items in ten categories, spread over a city."""
    degrees = np.r_[np.nan, 40.0 + np.random.default_rng(0).uniform(0, 0.3, n_items)]
    items = IdMap.of([f"i{number}" for number in range(n_items)])
    return Catalog(
        users=IdMap.of([f"u{number}" for number in range(N_USERS)]),
        items=items,
        places=items,
        categories=IdMap.of([f"c{number}" for number in range(10)]),
        item_category=np.r_[0, 1 + np.arange(n_items) % 10].astype(np.int32),
        item_lat=degrees,
        item_lon=-degrees,
        place_lat=degrees,
        place_lon=-degrees,
        items_are_places=True,
    )


def random_log(n_items: int) -> EventLog:
    """Users with more events than a history holds."""
    rng = np.random.default_rng(0)
    items = rng.integers(1, n_items + 1, N_USERS * (HISTORY_LEN + 1))
    return EventLog.sorted(
        user_idx=np.repeat(np.arange(1, N_USERS + 1), HISTORY_LEN + 1),
        item_idx=items,
        place_idx=items,
        occurred_s=1_600_000_000 + 3_600 * np.arange(len(items)),
    )


def _latencies(models: dict[str, OnnxRecommender], log: EventLog, n_runs: int) -> Row:
    """Median milliseconds of one query by length of its history, the models in turn."""
    row: Row = {}
    for length in LENGTHS:
        queries = queries_at(log, np.array([length]), history_len=length, time_given=True)
        calls = {name: model.prepared(queries) for name, model in models.items()}
        times: dict[str, list[float]] = {name: [] for name in models}
        for name, elapsed_ms in _timed(calls, N_WARM + n_runs):
            times[name].append(elapsed_ms)
        row |= {
            f"{name}_{length}_ms": statistics.median(elapsed[N_WARM:])
            for name, elapsed in times.items()
        }
    return row


def _timed(calls: dict[str, Callable[[], object]], n_runs: int) -> Iterator[tuple[str, float]]:
    for _ in range(n_runs):
        for name, call in calls.items():
            yield name, 1e3 * _processor_s(call)


def _open(folder: Path, catalog: Catalog) -> OnnxRecommender:
    about = {"name": folder.name, "dataset": "random", "data_version": "0"}
    write_bundle(folder, catalog, history_len=HISTORY_LEN, trained_until_s=0, **about)
    return OnnxRecommender(open_session(folder, n_threads=1), read_manifest(folder))


def _processor_s(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.export", description=__doc__)
    add = options.add_argument
    add(
        "--families",
        type=some_of(BACKBONES),
        default=["none", "transformer"],
        help=",".join(BACKBONES),
    )
    add("--items", type=at_least_one, default=5_000, help="items of the catalogue")
    add("--runs", type=at_least_one, default=200, help="queries timed a length and graph")
    add("--json", type=Path, help="write the rows to this file")
    return options


if __name__ == "__main__":
    main()
