"""Matrix factorisation by implicit: alternating least squares and BPR."""

from typing import Any

import implicit
import numpy as np
import scipy.sparse as sp
from implicit.nearest_neighbours import bm25_weight

from benchmarks.peers.workers import exchange


def main() -> None:
    """Train the model of the task and write its scores."""
    task = exchange.read_task()
    clock = exchange.Clock(task)
    train, histories = task.train(), task.histories()
    seen = _matrix(train["user_idx"], train["item_idx"], (task.n_users, task.n_items))
    if task.model == "als":
        past = _matrix(histories["row"], histories["item_idx"], (task.n_targets, task.n_items))
        settings = dict(task.settings)
        weighted = sp.vstack([seen, past]).tocsr()
        if settings.pop("weights") == "bm25":
            weighted = bm25_weight(weighted.T, K1=100, B=0.8).T.tocsr()
        model: Any = implicit.als.AlternatingLeastSquares(
            num_threads=task.threads, random_state=task.seed, **settings
        )
        model.fit(weighted[: task.n_users], show_progress=False)
        trained = clock.seconds()
        vectors = model.recalculate_user(np.arange(task.n_targets), weighted[task.n_users :])
        known = np.diff(past.indptr) > 0
    else:
        model = implicit.bpr.BayesianPersonalizedRanking(
            num_threads=task.threads, random_state=task.seed, **task.settings
        )
        model.fit(seen, show_progress=False)
        trained = clock.seconds()
        rows, first = np.unique(histories["row"], return_index=True)
        users = np.zeros(task.n_targets, dtype=np.int64)
        users[rows] = histories["user_idx"][first]
        vectors, known = model.user_factors[users], np.diff(seen.indptr)[users] > 0
    columns = np.flatnonzero(np.diff(seen.tocsc().indptr))
    exchange.write_scores(task, vectors, model.item_factors[columns], columns, known)
    scored = clock.seconds()
    epochs = task.settings["iterations"]
    exchange.write_stats(
        task,
        {
            "train_s": trained,
            "score_s": scored - trained,
            "wall_s": clock.wall_seconds(),
            "n_epochs": epochs,
            "seconds_epoch": trained / epochs,
            "stopped_by": "itself",
        },
    )


def _matrix(rows: Any, columns: Any, shape: tuple[int, int]) -> Any:
    """Counts of pairs."""
    return sp.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)


if __name__ == "__main__":
    main()
