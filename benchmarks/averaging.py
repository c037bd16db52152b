"""Mean of the probabilities of several trainings on Foursquare NYC, and what a model expects.

    python -m benchmarks.averaging --time given --trainings 3 --json averaging.json

The stream of ``benchmarks.next_place``: rows for each training, seeds 0, 1 and so on, and for the
mean of the probabilities of all. Differences to seed 0 are paired, with their 95 % interval over
users. ``own_acc_10`` is the mean of the ten largest probabilities of each target: the Acc@10 that a
model expects of itself. ``own_new`` is the mean probability of all items new to the user; ``new``
is the share of targets that are new.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console

from benchmarks.data_sets import add_data_option, data_set_dir
from benchmarks.next_place import TARGETS, WITHIN_SESSION, Stream, read_stream, some_targets
from benchmarks.rows import Row, at_least_one, rows_table, write_rows
from chronotope.artifact.hidden_time import RequestTimeMarginalized
from chronotope.contracts.event_log import Catalog, EventLog, Float64
from chronotope.contracts.queries import Queries
from chronotope.metrics import EvaluationResult, evaluate
from chronotope.metrics.ranking import hit_rate, reciprocal_rank
from chronotope.metrics.significance import paired_difference
from chronotope.training.config import TrainingConfig
from chronotope.training.recommender import ChronotopeRecommender

TOP: Final = 10

METRICS: Final = ("acc_1", "acc_10", "mrr")
HEADERS: Final = ("model", *METRICS, "discovery_acc_10", "own_acc_10", "new", "own_new")
GAIN_HEADERS: Final = ("model", *(f"{name}_gain" for name in METRICS))


@dataclass(frozen=True, slots=True)
class MeanOfModels:
    """Mean of the probabilities of trained models.

    Attributes:
        name: Name shown in tables.
        models: Models of one catalogue.
        top_mass: Sums of the largest probabilities, one array for each batch that was scored.
        new_mass: Probabilities of all items new to the user, likewise.
    """

    name: str
    models: tuple[RequestTimeMarginalized, ...]
    top_mass: list[Float64] = field(default_factory=list)
    new_mass: list[Float64] = field(default_factory=list)

    @property
    def history_len(self) -> int | None:
        """Longest history the models read."""
        return self.models[0].history_len

    def fit(self, log: EventLog, catalog: Catalog) -> Self:
        """Train every model."""
        for model in self.models:
            model.fit(log, catalog)
        return self

    def observe(self, log: EventLog) -> None:
        """Update the state of every model."""
        for model in self.models:
            model.observe(log)

    def scores(self, queries: Queries) -> Float64:
        """Mean probabilities, shape (B, n_items)."""
        each_probs = [_probabilities(model.scores(queries)) for model in self.models]
        probs: Float64 = np.mean(each_probs, axis=0)
        self.top_mass.append(np.partition(probs, -TOP, axis=1)[:, -TOP:].sum(axis=1))
        new_probs = probs.copy()
        np.put_along_axis(new_probs, queries.item_idx.astype(np.int64), 0.0, axis=1)
        self.new_mass.append(new_probs.sum(axis=1))
        return probs


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, evaluate, print tables and write the rows."""
    chosen = _parser().parse_args(arguments)
    stream = read_stream(data_set_dir("foursquare_nyc", chosen.data))
    stream = some_targets(stream, chosen.targets)
    rows = measure(
        replace(stream, targets=stream.targets[:: chosen.every]),
        WITHIN_SESSION,
        n_trainings=chosen.trainings,
        time_given=chosen.time == "given",
    )
    console = Console()
    title = f"{chosen.targets} targets, every {chosen.every}, time {chosen.time}"
    console.print(rows_table(title, HEADERS, rows))
    console.print(rows_table("difference to seed 0", GAIN_HEADERS, rows[1:]))
    if chosen.json:
        about = {"time": chosen.time, "targets": chosen.targets, "every": chosen.every}
        write_rows([about | row for row in rows], chosen.json)


def measure(
    stream: Stream, training: TrainingConfig, *, n_trainings: int, time_given: bool
) -> list[Row]:
    """Rows of each training and of the mean of their probabilities.

    Args:
        stream: Log and targets.
        training: Settings of every training; the seeds are 0 to ``n_trainings - 1``.
        n_trainings: Number of trainings.
        time_given: Whether the time of the request is known.
    """
    trainings = [training.model_copy(update={"seed": seed}) for seed in range(n_trainings)]
    models = [RequestTimeMarginalized(ChronotopeRecommender(training=each)) for each in trainings]
    seeds = [
        MeanOfModels(f"seed {seed}", (model,)).fit(stream.base, stream.catalog)
        for seed, model in enumerate(models)
    ]
    mean = MeanOfModels(f"mean of {n_trainings}", tuple(models))
    rows: list[Row] = []
    reference: EvaluationResult | None = None
    for variant in (*seeds, mean):
        variant.observe(stream.base)  # a seed has later counts when the mean asks it again
        result = evaluate(
            variant,
            stream.log,
            stream.targets,
            n_items=stream.catalog.n_items,
            time_given=time_given,
            rounds=stream.rounds or None,
        )
        reference = reference or result
        rows.append(_row(variant, result, reference))
    return rows


def _row(model: MeanOfModels, result: EvaluationResult, reference: EvaluationResult) -> Row:
    """Metrics of one variant, and its differences to the reference."""
    values, reference_values = _metrics(result), _metrics(reference)
    row: Row = {"model": model.name, "n_targets": len(result)}
    for name in METRICS:
        gain = paired_difference(values[name], reference_values[name], result.user)
        row[name] = float(values[name].mean())
        row[f"{name}_gain"] = f"{gain.estimate:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"
    return row | {
        "discovery_acc_10": float(values["acc_10"][~result.is_return].mean()),
        "own_acc_10": float(np.concatenate(model.top_mass).mean()),
        "new": float((~result.is_return).mean()),
        "own_new": float(np.concatenate(model.new_mass).mean()),
    }


def _metrics(result: EvaluationResult) -> dict[str, Float64]:
    """Each of ``METRICS`` for each target."""
    target_ranks = result.rank
    columns = (
        hit_rate(target_ranks, 1),
        hit_rate(target_ranks, TOP),
        reciprocal_rank(target_ranks),
    )
    return dict(zip(METRICS, columns, strict=True))


def _probabilities(item_scores: npt.NDArray[np.floating]) -> Float64:
    """Softmax over the known items, shape (B, n_items); 0 for the unknown."""
    logits = torch.from_numpy(np.array(item_scores, dtype=np.float64))
    logits[:, 0] = -torch.inf
    probs: Float64 = torch.softmax(logits, dim=1).numpy()
    return probs


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.averaging", description="Mean of several trainings on NYC."
    )
    add_data_option(parser)
    parser.add_argument("--time", choices=["hidden", "given"], default="given")
    parser.add_argument("--targets", choices=TARGETS, default="development")
    parser.add_argument(
        "--every", type=at_least_one, default=1, help="measure every n-th of these targets"
    )
    parser.add_argument(
        "--trainings", type=at_least_one, default=3, help="trainings whose mean is taken"
    )
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    return parser


if __name__ == "__main__":
    main()
