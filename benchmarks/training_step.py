"""Cost of a training step by backbone family, and its parts.

    python -m benchmarks.training_step --dataset movielens_100k --json FILE

A step has 128 targets. ``apart`` encodes each target's history by itself, as inference does;
``together`` encodes packed histories, overlapping ones once, as training does. Both take the
same batches in the same process, in turn; times are processor seconds of one thread.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.data_sets import add_data_option, data_root
from benchmarks.peers import data
from benchmarks.rows import Row, at_least_one, some_of, write_rows
from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.features.snapshot import load_features
from chronotope.models.config import BACKBONES, ModelConfig
from chronotope.models.network import ChronotopeNet
from chronotope.training.config import TrainingConfig
from chronotope.training.lightning_module import NextEventModule
from chronotope.training.prequential import RoundBatches, TrainingBatch, make_rounds

KERNELS: Final = "chronotope"
FAMILIES: Final = (KERNELS, *(kind for kind in BACKBONES if kind != "none"))
N_WARM: Final = 2
COLUMNS: Final = ("family", "gather_ms", "forward_ms", "apart_ms", "together_ms", "ratio")


def main(arguments: Sequence[str] | None = None) -> None:
    """Time the steps of the chosen families, print a table and write the rows as JSON."""
    chosen = parser().parse_args(arguments)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        log, catalog = load_features(
            data.read_dataset(chosen.dataset, data_root(chosen.data), Path(scratch))
        )
    rows = [row_of(name, log, catalog, chosen.steps) for name in chosen.families]
    shown = Table(title=f"{chosen.dataset}, a step of 128 targets", box=box.SIMPLE_HEAD)
    for column in COLUMNS:
        shown.add_column(column, justify="left" if column == "family" else "right")
    for row in rows:
        shown.add_row(row["family"], *(f"{row[column]:.1f}" for column in COLUMNS[1:]))
    Console().print(shown)
    if chosen.json is not None:
        write_rows([{"dataset": chosen.dataset, **row} for row in rows], chosen.json)


def row_of(family: str, log: EventLog, catalog: Catalog, n_steps: int) -> Row:
    """Milliseconds of processor time a step of one family, medians over the steps."""
    model, training = config_of(family), TrainingConfig()
    net = ChronotopeNet(model, catalog).train()
    net.context_head.measure(log)
    rounds, _ = make_rounds(log, catalog, training)
    batches = RoundBatches(log, rounds, training, model_config=model, is_training=True)
    module = NextEventModule(net, training, n_steps=1)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)

    def step(example: TrainingBatch) -> None:
        optimizer.zero_grad()
        torch.autograd.backward(module.training_step(example, 0))
        optimizer.step()

    def forward(example: TrainingBatch) -> None:
        with torch.no_grad():
            module.training_step(example, 0)

    spent: dict[str, list[float]] = {name: [] for name in COLUMNS[1:-1]}
    source = iter(batches)
    for example, gather_ms in islice(_gathered(source), N_WARM, N_WARM + n_steps):
        spent["gather_ms"].append(gather_ms)
        spent["forward_ms"].append(_ms(forward, example))
        spent["together_ms"].append(_ms(step, example))
        spent["apart_ms"].append(_ms(step, example._replace(packed_sequences=None)))
    medians = {name: statistics.median(times) for name, times in spent.items()}
    return {"family": family, **medians, "ratio": medians["apart_ms"] / medians["together_ms"]}


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


def _ms(work: Callable[[TrainingBatch], None], example: TrainingBatch) -> float:
    """Processor milliseconds of a function call."""
    began = time.process_time()
    work(example)
    return 1e3 * (time.process_time() - began)


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
    add("--json", type=Path, help="write the rows to this file")
    return options


if __name__ == "__main__":
    main()
