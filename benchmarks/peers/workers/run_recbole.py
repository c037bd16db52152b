"""Sequence, graph and factor models by RecBole."""

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from pyarrow import csv
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.trainer import Trainer
from recbole.utils import get_model, init_seed

from benchmarks.peers.workers import exchange

SEQUENTIAL = ("SASRec", "GRU4Rec")


class BudgetSpentError(Exception):
    """The time is over, in the middle of an epoch."""


def main() -> None:
    """Train the model of the task and write its scores."""
    task = exchange.read_task()
    exchange.quiet(task)
    warnings.filterwarnings("ignore")
    logging.disable(logging.INFO)
    torch.set_num_threads(task.threads)
    clock = exchange.Clock(task)
    _write_interactions(task)
    config = _config(task)
    init_seed(task.seed, reproducibility=True)
    dataset = create_dataset(config)
    train, valid, _ = data_preparation(config, dataset)
    model = get_model(task.model)(config, train.dataset)
    trainer = Trainer(config, model)
    epochs = exchange.Epochs(clock)
    stopped_by = _fit(trainer, train, valid, clock, epochs)
    trained = clock.seconds()
    _write_scores(task, model.eval(), dataset)
    exchange.write_stats(
        task,
        {
            "train_s": trained,
            "score_s": clock.seconds() - trained,
            "wall_s": clock.wall_seconds(),
            "n_epochs": epochs.done,
            "seconds_epoch": epochs.seconds(len(train)),
            "stopped_by": stopped_by,
        },
    )


def _fit(
    trainer: Any, train: Any, valid: Any, clock: exchange.Clock, epochs: exchange.Epochs
) -> str:
    """Train until patience or budget is used up; keep the best epoch, or the last steps."""
    loss_of = trainer.model.calculate_loss

    def timed(interaction: Any) -> Any:
        if clock.is_over():
            raise BudgetSpentError
        epochs.batch_done()
        return loss_of(interaction)

    trainer.model.calculate_loss = timed
    epochs.began()
    best = Path(trainer.saved_model_file)
    try:
        trainer.fit(train, valid, verbose=False, callback_fn=lambda *_: epochs.ended())
        stopped_by = "patience"
    except BudgetSpentError:
        stopped_by = "budget"
        score, _ = trainer._valid_epoch(valid)
        if score > trainer.best_valid_score:
            return stopped_by
    if best.exists():
        kept = torch.load(best, weights_only=False)  # written by this very process
        trainer.model.load_state_dict(kept["state_dict"])
    return stopped_by


def _config(task: exchange.Task) -> Config:
    sequential = task.model in SEQUENTIAL
    fixed = {
        "data_path": str(Path.cwd()),
        "checkpoint_dir": str(Path.cwd() / "saved"),
        "USER_ID_FIELD": "user_id",
        "ITEM_ID_FIELD": "item_id",
        "TIME_FIELD": "timestamp",
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "unused_col": {"inter": ["timestamp"]},
        "eval_args": {
            "split": {"LS": "valid_only"},
            "group_by": "user",
            "order": "TO",
            "mode": "full",
        },
        "valid_metric": "NDCG@10",
        "metrics": ["NDCG"],
        "epochs": 10_000,
        "stopping_step": 10,
        "use_gpu": False,
        "seed": task.seed,
        "show_progress": False,
        "eval_batch_size": exchange.BLOCK * (1 if sequential else task.n_items),
        "worker": 0,
    }
    if sequential:
        fixed["train_neg_sample_args"] = None  # cross-entropy over all items needs none
    return Config(model=task.model, dataset="log", config_dict=fixed | task.settings)


def _write_interactions(task: exchange.Task) -> None:
    """Write interactions; positions replace times, which RecBole stores in 32 bits."""
    train = task.train()
    instants = np.arange(len(train["user_idx"]))
    rows = pa.table([train["user_idx"], train["item_idx"], instants], ["user", "item", "at"])
    Path("log").mkdir(exist_ok=True)
    with Path("log/log.inter").open("wb") as file:
        file.write(b"user_id:token\titem_id:token\ttimestamp:float\n")
        csv.write_csv(rows, file, csv.WriteOptions(include_header=False, delimiter="\t"))


def _write_scores(task: exchange.Task, model: Any, dataset: Any) -> None:
    """Vectors of users and items, as the library's own full ranking multiplies them."""
    columns = dataset.field2id_token["item_id"][1:].astype(np.int64)
    inner = np.zeros(task.n_items, dtype=np.int64)
    inner[columns] = np.arange(1, len(columns) + 1)
    histories = task.histories()
    with torch.no_grad():
        if task.model in SEQUENTIAL:
            vectors, known = _sequence_states(task, model, histories, inner)
            items = model.item_embedding.weight
        else:
            users, items = _tables(model)
            vectors, known = _user_vectors(task, users.detach().numpy(), histories, dataset)
    exchange.write_scores(task, vectors, items[1:].detach().numpy(), columns, known)


def _sequence_states(
    task: exchange.Task, model: Any, histories: dict[str, exchange.IntArray], inner: Any
) -> tuple[Any, Any]:
    """State after each target's history, of the items the model knows."""
    items = inner[histories["item_idx"]]
    rows, items = histories["row"][items > 0], items[items > 0]
    ends = np.searchsorted(rows, np.arange(task.n_targets), side="right")
    starts = np.searchsorted(rows, np.arange(task.n_targets))
    longest = model.max_seq_length
    sizes = np.minimum(ends - starts, longest)
    at = (ends - sizes)[:, None] + np.arange(longest)
    valid = np.arange(longest) < sizes[:, None]
    padded = np.where(valid, items[np.where(valid, at, 0)], 0)
    sequences, lengths = torch.from_numpy(padded), torch.from_numpy(np.maximum(sizes, 1))
    states = [model.forward(sequences[b], lengths[b]) for b in exchange.blocks(task.n_targets)]
    return torch.cat(states).numpy(), sizes > 0


def _tables(model: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Users' and items' vectors: propagated over the graph, or as learned."""
    if type(model).__name__ == "LightGCN":
        users, items = model.forward()
        return users, items
    return model.user_embedding.weight, model.item_embedding.weight


def _user_vectors(
    task: exchange.Task, table: Any, histories: dict[str, exchange.IntArray], dataset: Any
) -> tuple[Any, Any]:
    """Trained vector of each target's user; unknown if the user was not in the training."""
    inner = np.zeros(task.n_users, dtype=np.int64)
    tokens = dataset.field2id_token["user_id"][1:].astype(np.int64)
    inner[tokens] = np.arange(1, len(tokens) + 1)
    rows, first = np.unique(histories["row"], return_index=True)
    found = np.zeros(task.n_targets, dtype=np.int64)
    found[rows] = inner[histories["user_idx"][first]]
    return table[found], found > 0


if __name__ == "__main__":
    main()
