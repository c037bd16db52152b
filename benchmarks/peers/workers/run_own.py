"""Chronotope's models and baselines, under the rules of the comparison."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from benchmarks.peers.data import cut
from benchmarks.peers.workers import exchange
from chronotope.contracts.protocols import Recommender
from chronotope.contracts.queries import queries_at
from chronotope.features.snapshot import load_features
from chronotope.models.baselines import (
    Ease,
    FirstOrderMarkov,
    Popularity,
    PopularityLastDays,
    UserCounts,
)
from chronotope.models.config import ModelConfig
from chronotope.training.config import TrainingConfig
from chronotope.training.recommender import ChronotopeRecommender

BASELINES: Final[dict[str, Callable[[], Recommender]]] = {
    "popularity": Popularity,
    "popularity_7d": PopularityLastDays,
    "user_counts": UserCounts,
    "markov": FirstOrderMarkov,
    "ease": Ease,
}


class EpochTracker:
    """Counts the epochs of a training by its reports of later loss."""

    def __init__(self, epochs: exchange.Epochs) -> None:
        """Count into ``epochs``."""
        self.epochs = epochs

    def metrics(self, values: Mapping[str, float], *, step: int = 0) -> None:  # noqa: ARG002
        """Count an epoch when its validation loss is reported."""
        if "later_loss" in values:
            self.epochs.ended()

    def params(self, values: Mapping[str, object]) -> None:
        """Discard parameters."""

    def artifact(self, path: Path, *, folder: str = "") -> None:
        """Discard a file."""


def main() -> None:
    """Train the model of the task and write its scores."""
    task = exchange.read_task()
    torch.set_num_threads(task.threads)
    settings = dict(task.settings)
    log, catalog = load_features(Path(settings.pop("features")))
    split = cut(log, settings.pop("protocol"))
    clock = exchange.Clock(task)
    epochs = exchange.Epochs(clock)
    model = _model(task, settings, epochs)
    epochs.began()
    model.fit(split.train, catalog)
    trained = clock.seconds()
    starts = (log.user_start(), log.basket_start())
    scores: exchange.ScoresFile | None = None
    for rows in exchange.blocks(len(split.targets)):
        queries = queries_at(
            log,
            split.targets[rows],
            history_len=model.history_len,
            time_given=False,
            start_positions=starts,
        )
        block = np.asarray(model.scores(queries))
        scores = scores or exchange.ScoresFile(task, block.dtype)
        scores.append(block)
    if scores is not None:
        scores.close()
    exchange.write_stats(
        task,
        {
            "train_s": trained,
            "score_s": clock.seconds() - trained,
            "wall_s": clock.wall_seconds(),
            "n_epochs": epochs.done,
            "seconds_epoch": epochs.seconds(),
            "stopped_by": "itself",
        },
    )


def _model(task: exchange.Task, settings: dict[str, Any], epochs: exchange.Epochs) -> Recommender:
    if task.model in BASELINES:
        return BASELINES[task.model]()
    training = {"seed": task.seed} | settings.pop("training", {})
    return ChronotopeRecommender(
        ModelConfig(**settings), TrainingConfig(**training), tracker=EpochTracker(epochs)
    )


if __name__ == "__main__":
    main()
