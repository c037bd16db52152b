"""Transformers by RecTools: SASRec and BERT4Rec."""

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import BERT4RecModel, SASRecModel

from benchmarks.peers.workers import exchange

FAMILIES = {"sasrec": SASRecModel, "bert4rec": BERT4RecModel}
PATIENCE = 10
"""Epochs without a better validation loss."""


class Budget(pl.Callback):
    """Stops when the time is spent, and counts epochs."""

    def __init__(self, clock: exchange.Clock, epochs: exchange.Epochs) -> None:
        """Remember clock and counter."""
        self.clock, self.epochs = clock, epochs
        self.n_batches = 0

    def on_train_start(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
        """Start counting."""
        self.n_batches = int(trainer.num_training_batches)
        self.epochs.began()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any, **__: Any) -> None:
        """Stop inside an epoch if need be."""
        self.epochs.batch_done()
        trainer.should_stop = trainer.should_stop or self.clock.is_over()

    def on_train_epoch_end(self, *_: Any) -> None:
        """Count the epoch, its validation included, unless it was cut."""
        if not self.clock.is_over():
            self.epochs.ended()


def main() -> None:
    """Train the model of the task and write its scores."""
    task = exchange.read_task()
    exchange.quiet(task)
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    torch.set_num_threads(task.threads)
    pl.seed_everything(task.seed)
    clock = exchange.Clock(task)
    model = FAMILIES[task.model](
        **task.settings,
        get_val_mask_func=_last_of_each_user,
        get_trainer_func=lambda: _trainer(clock),
        recommend_torch_device="cpu",
        recommend_batch_size=exchange.BLOCK,
    )
    train = task.train()
    model.fit(_dataset(train["user_idx"], train))
    budget, stop, best = model.fit_trainer.callbacks  # copies of those it was given
    if best.best_model_path:
        model.load_weights_from_checkpoint(best.best_model_path)
    trained = clock.seconds()
    _write_scores(task, model)
    exchange.write_stats(
        task,
        {
            "train_s": trained,
            "score_s": clock.seconds() - trained,
            "wall_s": clock.wall_seconds(),
            "n_epochs": budget.epochs.done,
            "seconds_epoch": budget.epochs.seconds(budget.n_batches),
            "stopped_by": "patience" if stop.stopped_epoch else "budget",
        },
    )


def _trainer(clock: exchange.Clock) -> pl.Trainer:
    loss = SASRecModel.val_loss_name
    return pl.Trainer(
        max_epochs=10_000,
        accelerator="cpu",
        callbacks=[
            Budget(clock, exchange.Epochs(clock)),
            EarlyStopping(loss, patience=PATIENCE),
            ModelCheckpoint(Path(), "best", monitor=loss),
        ],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _write_scores(task: exchange.Task, model: Any) -> None:
    """Encode each history with the library's own loader and multiply with the items."""
    histories = task.histories()
    rows = np.arange(task.n_targets)
    past = model.data_preparator.transform_dataset_u2i(
        _dataset(histories["row"], histories), rows[np.isin(rows, histories["row"])]
    )
    loader = model.data_preparator.get_dataloader_recommend(past, exchange.BLOCK)
    states, items = model.lightning_model._get_user_item_embeddings(loader, "cpu")
    vectors = np.zeros((task.n_targets, states.shape[1]), dtype=np.float32)
    told = past.user_id_map.external_ids.astype(np.int64)
    vectors[told] = states.numpy()
    columns = model.data_preparator.get_known_item_ids().astype(np.int64)
    trained = items.numpy()[model.data_preparator.get_known_items_sorted_internal_ids()]
    exchange.write_scores(task, vectors, trained, columns, np.isin(rows, told))


def _dataset(users: exchange.IntArray, events: dict[str, exchange.IntArray]) -> Dataset:
    return Dataset.construct(
        pd.DataFrame(
            {
                Columns.User: users,
                Columns.Item: events["item_idx"],
                Columns.Weight: 1.0,
                Columns.Datetime: pd.to_datetime(events["occurred_s"], unit="s"),
            }
        )
    )


def _last_of_each_user(interactions: pd.DataFrame) -> Any:
    """Mask of the validation events: each user's last training interaction."""
    return ~interactions[Columns.User].duplicated(keep="last").to_numpy()


if __name__ == "__main__":
    main()
