"""Measures of trust: membership attacks, exposure of items, gaps between groups of users.

    python -m benchmarks.trust --data DIR --json FILE

Rows ``{dataset, measure, value, low, high, note}``, intervals of 95 % over users. The first 80 % of
the time are the training; with ``--development`` the first 64 %, for choices that the final numbers
must not be taken from.

``membership_auc``: AUC of telling users of the training from 30 % of the users that were held out
of it, by the loss of up to 20 of their events before the end of the training, with and without the
loss of two reference models. The note says what the attacked model holds of its users.

``exposure_gap``: share of the later targets that are outside the most popular fifth of the items,
minus their share of the exposure in the lists. ``exposure_gap_ratio``: the gap after the re-ranking
over that before; ``exposure_ndcg_lost``: the share of NDCG@10 that it costs. Its strength is chosen
on the first half of the targets' time, the rows are of the second. ``user_gap``: largest difference
of NDCG@10 between groups of users, before and after.

``federated_share``: NDCG@10 of a model trained by a federation of 20 clients whose users differ,
over that of one training on all their events; ``federated_share_faults``: the same with a third of
the clients dropping out of each aggregation, and a tenth poisoned;
``federated_share_poisoned_updates``: the poisoned ones send honest counts, so that nothing but the
robust rule is between them and the network.

``dp_share_eps_E``: NDCG@10 of a model under user-level differential privacy
(``privacy.epsilon``: E) over that of a training without noise; ``dp_trained_share_eps_E``: the same
with noisy steps of training; ``dp_popularity_share_eps_E``: that of popularity with the same
budget.

``membership_auc_dp_eps_E``: attacks on the model with noisy steps, as the mean of two models with
members and held-out users swapped, over several divisions of the users (``--divisions``);
``membership_auc_control_eps_E``: the same attacks on a model that saw neither, without a swap.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console

from benchmarks.data_sets import add_data_option
from benchmarks.rows import Row, read_rows, rows_table, some_of, write_rows
from benchmarks.transfer.logs import sample_users
from benchmarks.trust.exposure import exposure_rows
from benchmarks.trust.federated import federated_rows, make_federated_task
from benchmarks.trust.logs import read_task_log
from benchmarks.trust.membership import make_task, membership_rows
from benchmarks.trust.private import attack_rows, private_rows
from chronotope.contracts.event_log import Catalog, EventLog

DATASETS: Final = ("movielens_100k", "foursquare_nyc", "complete_journey", "oulad_slice")
HEADERS: Final = ("dataset", "measure", "value", "low", "high", "note")
END_SHARE: Final = 0.8
DEVELOPMENT_END_SHARE: Final = 0.64


@dataclass(frozen=True, slots=True)
class TrustTask:
    """A log, the end of its training in time, and a seed."""

    name: str
    log: EventLog
    catalog: Catalog
    end_s: int
    seed: int
    work: Path
    n_divisions: int


def _membership(task: TrustTask) -> list[Row]:
    attack_task = make_task(task.log, task.catalog, task.end_s, task.seed)
    return membership_rows(task.name, attack_task, task.seed)


def _exposure(task: TrustTask) -> list[Row]:
    return exposure_rows(task.name, task.log, task.catalog, task.end_s, task.seed)


def _private(task: TrustTask) -> list[Row]:
    return private_rows(task.name, task.log, task.catalog, task.end_s, task.seed)


def _private_membership(task: TrustTask) -> list[Row]:
    return attack_rows(
        task.name, task.log, task.catalog, task.end_s, task.seed, n_divisions=task.n_divisions
    )


def _federated(task: TrustTask) -> list[Row]:
    federated_task = make_federated_task(task.name, task.log, task.catalog, task.end_s, task.seed)
    return federated_rows(federated_task, task.work)


MEASURES: Final[dict[str, Callable[[TrustTask], list[Row]]]] = {
    "membership": _membership,
    "exposure": _exposure,
    "private": _private,
    "private_membership": _private_membership,
    "federated": _federated,
}
"""Makes the rows of a measure."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and keep the rows."""
    options = _parser().parse_args(arguments)
    console = Console(width=180)
    share = DEVELOPMENT_END_SHARE if options.development else END_SHARE
    for name in options.datasets:
        whole = read_task_log(name, options.data, options.work)
        log, catalog = sample_users(whole, options.max_events, options.seed)
        end_s = int(np.quantile(log.occurred_s, share))
        task = TrustTask(name, log, catalog, end_s, options.seed, options.work, options.divisions)
        for measure in options.measures:
            rows = MEASURES[measure](task)
            console.print(rows_table(measure, HEADERS, rows))
            if options.json:
                keep(rows, options.json)


def keep(rows: list[Row], path: Path) -> None:
    """Write rows; earlier ones of the same data set and measure are replaced."""
    keys = {(row["dataset"], row["measure"]) for row in rows}
    others = [row for row in read_rows(path) if (row["dataset"], row["measure"]) not in keys]
    write_rows([*others, *rows], path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trust", description=__doc__)
    add_data_option(parser)
    parser.add_argument("--datasets", type=some_of(DATASETS), default=list(DATASETS))
    parser.add_argument("--measures", type=some_of(MEASURES), default=list(MEASURES))
    parser.add_argument(
        "--max-events", type=int, default=150_000, help="events of randomly drawn users, about"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of users, events and training")
    parser.add_argument(
        "--divisions", type=int, default=3, help="divisions of the users of private_membership"
    )
    parser.add_argument("--development", action="store_true", help="an earlier end of the training")
    parser.add_argument("--json", type=Path, help="keep the rows in this file")
    parser.add_argument("--work", type=Path, default=Path("data/trust"))
    return parser


if __name__ == "__main__":
    main()
