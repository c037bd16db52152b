"""The time of the next event, as a whole distribution: our models and the field's.

    python -m benchmarks.next_time --dataset foursquare_nyc --json next_time.json

A target is the first event of a user's next basket; its wait is the hours since the user's last
event. All models forecast the same waits from live histories by frozen parameters:

- global: waits that end in the first 80 % of events are training data, the next tenth selects
  the epoch, the last tenth is the test set;
- stream (check-ins): the same with T0 (its last tenth selects), tested on all of T1..T5;
- session (check-ins): stream, but only waits inside a trajectory, which are at most 24 hours.

``time_head`` is the model's time head, trained alone; it is also trained on the waits that were
still open when training ends (censored), except under session, where waits are short. ``champion``
is the whole network, trained with all heads and exported with int8 tables. RMTPP, THP and the
intensity-free mixture are EasyTPP's, in an environment of their own.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.data_sets import add_data_option
from benchmarks.next_time import peers, simple_models, time_models
from benchmarks.next_time.case import Case
from benchmarks.next_time.forecasts import Forecasts, score_forecasts
from benchmarks.next_time.waits import DATA_SETS, PROTOCOLS, read_timed_log, split_waits
from benchmarks.rows import Row, read_rows, some_of, write_rows

MODELS: Final[dict[str, Callable[[Case], Forecasts]]] = {
    "exponential": simple_models.exponential,
    "lognormal": simple_models.lognormal,
    "mixture_8": simple_models.mixture_8,
    "user_median": simple_models.user_median,
    "boosted_trees": simple_models.boosted_trees,
    "rmtpp": peers.rmtpp,
    "thp": peers.thp,
    "intensity_free": peers.intensity_free,
    "time_head": time_models.time_head,
    "champion": time_models.champion,
}
HEADERS: Final = ("model", "NLL (h)", "|log error|", "80 % covers", "nightly levels", "processor s")
KEYS: Final = ("dataset", "protocol", "model", "seed")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the chosen models under the chosen protocols, print tables, write the rows."""
    chosen = _parser().parse_args(arguments)
    source = read_timed_log(chosen.dataset, chosen.data, chosen.work, chosen.seed)
    protocols = chosen.protocols if source.base is not None else ["global"]
    console = Console()
    for protocol in protocols:
        work = chosen.work.resolve() / f"{chosen.dataset}-{protocol}-{chosen.seed}"
        waits = split_waits(source, protocol)
        case = Case(waits, chosen.seed, chosen.budget_s, chosen.venvs, work)
        rows = []
        for name in chosen.models:
            if name in peers.NAMES and protocol == "session":
                continue  # a peer's likelihood is of whole sequences
            rows.append(measure(name, case, chosen.dataset, protocol))
            keep(rows[-1], chosen.json)
        console.print(table(rows, f"{chosen.dataset}, {protocol}"))


def measure(name: str, case: Case, dataset: str, protocol: str) -> Row:
    """Row of one model."""
    started = time.process_time() + peers.children_s()
    forecasts = MODELS[name](case)
    scores = asdict(score_forecasts(forecasts, case.test_h, case.test_ended_s))
    about = dict(zip(KEYS, (dataset, protocol, name, case.seed), strict=True))
    seconds = time.process_time() + peers.children_s() - started
    return about | scores | {"processor_s": round(seconds, 1)}


def keep(row: Row, path: Path | None) -> None:
    """Put a row into the JSON file in place of an older one of the same case and model."""
    if path is None:
        return
    same = [row[key] for key in KEYS]
    others = [other for other in read_rows(path) if [other[key] for key in KEYS] != same]
    write_rows([*others, row], path)


def table(rows: Sequence[Row], title: str) -> Table:
    """Table of the rows of one case."""
    n_targets = rows[0]["n_targets"] if rows else 0
    shown = Table(title=f"Next time, {title}, {n_targets:,} waits", box=box.SIMPLE_HEAD)
    for header in HEADERS:
        shown.add_column(header, justify="left" if header == "model" else "right", no_wrap=True)
    for row in rows:
        numbers = [f"{row['nll']:.3f}", f"{row['mean_abs_log_error']:.3f}"]
        coverage = [f"{100 * row[name]:.1f} %" for name in ("coverage_80", "coverage_80_nightly")]
        shown.add_row(row["model"], *numbers, *coverage, f"{row['processor_s']:.0f}")
    return shown


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.next_time", description=__doc__)
    add_data_option(parser)
    add = parser.add_argument
    add("--dataset", choices=list(DATA_SETS), default="foursquare_nyc")
    add("--protocols", type=some_of(PROTOCOLS), default=list(PROTOCOLS), help="of check-ins")
    add("--models", type=some_of(MODELS), default=list(MODELS), help=f"some of {','.join(MODELS)}")
    add("--seed", type=int, default=0, help="seed of trainings and of the sample of users")
    add("--budget-s", type=float, default=20.0, help="training of one setting of a peer, seconds")
    add("--json", type=Path, help="store the rows in this file, beside those already there")
    add("--venvs", type=Path, default=Path(".venv-peers"), help="the peers' environments")
    add("--work", type=Path, default=Path("data/next_time"), help="folder for tasks and forecasts")
    return parser


if __name__ == "__main__":
    main()
