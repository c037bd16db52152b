"""Neural point processes of the field, by EasyTPP, in an environment of their own.

A task is a folder: ``events.parquet`` holds one row a basket, ordered by user and time (user_idx,
hour of the log, gap_h, category mark, hour mark, role), ``task.json`` the settings. The worker
answers with ``forecasts.npz``, one entry a test row in the order of the events.
"""

import json
import resource
import subprocess
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.next_time.case import Case
from benchmarks.next_time.forecasts import Forecasts
from benchmarks.next_time.waits import Waits
from benchmarks.peers import environments
from chronotope.contracts.errors import ChronotopeError
from chronotope.contracts.event_log import Int64

NAMES: Final = ("rmtpp", "thp", "intensity_free")
N_MARKS: Final = 20
"""The most frequent marks keep their own number; all others share one."""

CONTEXT, TRAIN, LATER, TEST = range(4)
"""Roles of an event's gap; a gap of no other role is context."""


def rmtpp(case: Case) -> Forecasts:
    """Recurrent marked temporal point process (Du et al., KDD 2016)."""
    return _forecasts("RMTPP", case)


def thp(case: Case) -> Forecasts:
    """Transformer Hawkes process (Zuo et al., ICML 2020)."""
    return _forecasts("THP", case)


def intensity_free(case: Case) -> Forecasts:
    """Recurrent network with a mixture of lognormals (Shchur et al., ICLR 2020)."""
    return _forecasts("IntensityFree", case)


def children_s() -> float:
    """Processor seconds of the workers that ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def write_events(case: Case) -> None:
    """Write the baskets of the log with the role of each gap."""
    waits = case.waits
    log = waits.source.log
    starts = np.flatnonzero(log.basket_start() == np.arange(len(log)))
    is_first = log.user_start()[starts] == starts
    gap_h = np.zeros(len(starts))
    gap_h[1:] = np.diff(log.occurred_s[starts]) / 3600.0
    gap_h[is_first] = 0.0
    target_h = gap_h.copy()
    rows = np.searchsorted(starts, waits.positions)
    target_h[rows] = case.dequantized_h
    role = np.full(len(starts), CONTEXT, dtype=np.int8)
    for name, members in ((TRAIN, waits.train), (LATER, waits.later), (TEST, waits.test)):
        role[rows[members]] = name
    local_s = log.occurred_s[starts] + 60 * log.utc_offset_min[starts].astype(np.int64)
    table = pa.table(
        {
            "user_idx": log.user_idx[starts],
            "hour_of_log": (log.occurred_s[starts] - log.occurred_s.min()) / 3600.0,
            "gap_h": gap_h,
            "target_h": target_h,
            "category": category_marks(waits, starts),
            "hour": local_s % 86_400 // 3600,
            "role": role,
        }
    )
    pq.write_table(table, case.work / "events.parquet")


def category_marks(waits: Waits, starts: Int64) -> Int64:
    """Mark of each basket: the category of its first item, or the item where none is known.

    Returns:
        0 to ``N_MARKS - 1`` for the most frequent ones in training, ``N_MARKS`` for all others.
    """
    source = waits.source
    items = source.log.item_idx[starts]
    categories = source.catalog.item_category[items].astype(np.int64)
    marks = categories if categories.any() else items.astype(np.int64)
    is_past = source.log.occurred_s[starts] <= waits.train_until_s
    frequent = np.argsort(-np.bincount(marks[is_past], minlength=int(marks.max()) + 1))[:N_MARKS]
    number = np.full(int(marks.max()) + 1, N_MARKS, dtype=np.int64)
    number[frequent] = np.arange(len(frequent))
    return number[marks]


def _forecasts(model: str, case: Case) -> Forecasts:
    """Forecasts by one of EasyTPP's models, from a process of its own.

    Raises:
        ConfigError: The environment could not be made.
        ChronotopeError: The process failed.
    """
    case.work.mkdir(parents=True, exist_ok=True)
    write_events(case)
    settings = {"budget_s": case.budget_s, "seed": case.seed, "n_categories": N_MARKS + 1}
    task = settings | {"model": model, "half_width_h": case.waits.half_width_h}
    (case.work / "task.json").write_text(json.dumps(task), encoding="utf-8")
    python = environments.python_of("easytpp", case.venvs)
    output = case.work / f"{model}.log"
    with output.open("w", encoding="utf-8") as file:
        ran = subprocess.run(  # noqa: S603
            [python, "-m", "benchmarks.peers.workers.run_easytpp", str(case.work)],
            check=False,
            env=environments.environment(1),
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    if ran.returncode != 0:
        lines = output.read_text(encoding="utf-8").strip().splitlines()
        last = lines[-1] if lines else f"exit status {ran.returncode}"
        raise ChronotopeError("A worker failed", received=last, way_out=f"Read {output}")
    with np.load(case.work / f"{model}.npz") as arrays:
        return Forecasts(**{name: arrays[name] for name in arrays.files})
