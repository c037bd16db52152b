"""Costs of a training step, family by family, against a step that shares nothing.

    python -m benchmarks.training_step --dataset movielens_100k --json FILE

A step takes 128 targets. ``unshared`` reads the history of each target by itself, computes the
features of its gaps in the step, gives every event a row of the repeat head, and differentiates
the kernels automatically; ``step`` shares histories, takes gap features that were computed
before, has one row for each distinct item, and fuses the kernels. Both take the same batches in
the same process, in turn; times are processor milliseconds of one thread. ``wall`` compares the
elapsed time of a step on one thread and on ``--threads`` threads.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final
from unittest import mock

import torch
from rich import box
from rich.console import Console, JustifyMethod
from rich.table import Table
from torch import Tensor

from benchmarks.data_sets import add_data_option, data_root
from benchmarks.peers import data
from benchmarks.rows import Row, at_least_one, some_of, write_rows
from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.features.snapshot import load_features
from chronotope.models import kernels, repeat_head
from chronotope.models.config import BACKBONES, ModelConfig
from chronotope.models.history_index import HistoryIndex, ItemRows
from chronotope.models.network import ChronotopeNet
from chronotope.training.allocator import reuse_freed_memory
from chronotope.training.config import TrainingConfig
from chronotope.training.lightning_module import NextEventModule
from chronotope.training.prequential import RoundBatches, TrainingBatch, make_rounds

KERNELS: Final = "chronotope"
FAMILIES: Final = (KERNELS, *(kind for kind in BACKBONES if kind != "none"))
N_WARM: Final = 2
TIMES: Final = (
    "gather_ms",
    "forward_ms",
    "unshared_ms",
    "step_ms",
    "wall_ms",
    "wall_threads_ms",
)
COLUMNS: Final = ("family", *TIMES, "ratio")


def main(arguments: Sequence[str] | None = None) -> None:
    """Time the steps of the chosen families, print a table and write the rows as JSON."""
    chosen = parser().parse_args(arguments)
    torch.set_num_threads(1)
    reuse_freed_memory()  # as a training does
    with tempfile.TemporaryDirectory() as scratch:
        log, catalog = load_features(
            data.read_dataset(chosen.dataset, data_root(chosen.data), Path(scratch))
        )
    rows = [
        row_of(name, log, catalog, chosen.steps, n_threads=chosen.threads)
        for name in chosen.families
    ]
    shown = Table(title=f"{chosen.dataset}, ms a step of 128 targets", box=box.SIMPLE_HEAD)
    for column in COLUMNS:
        justify: JustifyMethod = "left" if column == "family" else "right"
        shown.add_column(column.removesuffix("_ms"), justify=justify)
    for row in rows:
        shown.add_row(row["family"], *(f"{row[column]:.1f}" for column in COLUMNS[1:]))
    Console().print(shown)
    if chosen.json is not None:
        write_rows([{"dataset": chosen.dataset, **row} for row in rows], chosen.json)


def row_of(family: str, log: EventLog, catalog: Catalog, n_steps: int, *, n_threads: int) -> Row:
    """Milliseconds a step of one family, medians over the steps."""
    model, training = config_of(family), TrainingConfig()
    net = ChronotopeNet(model, catalog).train()
    net.context_head.measure(log)
    rounds, _ = make_rounds(log, catalog, training)
    batches = RoundBatches(log, rounds, training, model_config=model, is_training=True)
    module = NextEventModule(net, training, n_steps=1)
    threaded = NextEventModule(net, training.model_copy(update={"n_threads": n_threads}), n_steps=1)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, fused=True)

    def step(example: TrainingBatch, stepped: NextEventModule = module) -> None:
        optimizer.zero_grad()
        torch.autograd.backward(stepped.training_step(example, 0))
        optimizer.step()

    def unshared_step(example: TrainingBatch) -> None:
        with nothing_shared():
            step(example._replace(packed_sequences=None, gap_features=None))

    def forward(example: TrainingBatch) -> None:
        with torch.no_grad():
            module.training_step(example, 0)

    spent: dict[str, list[float]] = {name: [] for name in TIMES}
    source = iter(batches)
    with threaded.threads():
        for example, gather_ms in islice(_gathered(source), N_WARM, N_WARM + n_steps):
            spent["gather_ms"].append(gather_ms)
            spent["forward_ms"].append(_ms(forward, example))
            spent["step_ms"].append(_ms(step, example))
            spent["unshared_ms"].append(_ms(unshared_step, example))
            spent["wall_ms"].append(_ms(step, example, clock=time.perf_counter))
            spent["wall_threads_ms"].append(
                _ms(partial(step, stepped=threaded), example, clock=time.perf_counter)
            )
    medians = {name: statistics.median(times) for name, times in spent.items()}
    return {"family": family, **medians, "ratio": medians["unshared_ms"] / medians["step_ms"]}


@contextmanager
def nothing_shared() -> Iterator[None]:
    """Kernels by automatic differentiation, and a row of the repeat head for every event."""
    with (
        mock.patch.object(kernels.FusedKernels, "apply", _unfused_kernels),
        mock.patch.object(repeat_head, "item_rows", _row_of_every_event),
    ):
        yield


def _unfused_kernels(
    rates: Tensor, distances: Tensor, is_event: Tensor, *indicators: Tensor
) -> Tensor:
    return kernels.kernel_products(rates, distances, is_event, indicators)


def _row_of_every_event(history: HistoryIndex) -> ItemRows:
    n_queries, n_events = history.slot.shape
    return ItemRows(history.representative_row, None, (n_queries, n_events))


def config_of(family: str) -> ModelConfig:
    """The model of a row: kernels alone, or a family alone, 64 wide, two layers, length 100."""
    if family == KERNELS:
        return ModelConfig()
    size = {"d_model": 64, "n_layers": 2, "backbone_len": 100}
    return ModelConfig.model_validate({"backbone": family, "kernels": False, **size})


def _gathered(source: Iterator[TrainingBatch]) -> Iterator[tuple[TrainingBatch, float]]:
    """Examples, each with the time to gather it."""
    while True:
        began = time.process_time()
        example = next(source)
        yield example, 1e3 * (time.process_time() - began)


def _ms(
    work: Callable[[TrainingBatch], None],
    example: TrainingBatch,
    clock: Callable[[], float] = time.process_time,
) -> float:
    """Milliseconds of a function call."""
    began = clock()
    work(example)
    return 1e3 * (clock() - began)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = argparse.ArgumentParser(
        prog="python -m benchmarks.training_step", description=__doc__
    )
    add = options.add_argument
    add_data_option(options)
    add("--dataset", choices=list(data.RULES), default="movielens_100k")
    add("--families", type=some_of(FAMILIES), default=list(FAMILIES), help=",".join(FAMILIES))
    add("--steps", type=at_least_one, default=20, help="steps timed a family")
    add("--threads", type=at_least_one, default=2, help="threads of the last column")
    add("--json", type=Path, help="write the rows to this file")
    return options


if __name__ == "__main__":
    main()
