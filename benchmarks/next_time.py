"""The time of the next check-in on Foursquare NYC: the whole distribution of the wait.

    python -m benchmarks.next_time --json next_time.json

A target is an event of a user with a history; its wait is the hours since the user's last
event. Three protocols, each predicted from live histories by frozen parameters:

- global: waits that end in the first 80 % of events are training data, the next tenth selects
  the epoch, the last tenth is the test set;
- stream: the same with T0 (its last tenth selects), tested on all of T1..T5;
- session: stream, but only waits inside a trajectory, which are at most 24 hours.

The row "rhythm" is the model's time head, trained alone. It is also trained on the waits
that were still open when training ends (censored), except under session, where waits are short.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.data_sets import add_data_option, data_set_dir
from benchmarks.next_place import Row, Stream, read_stream
from chronotope.contracts.event_log import Float64, Int64
from chronotope.contracts.queries import queries_at
from chronotope.losses.objectives import lognormal_mixture_nll
from chronotope.metrics import LognormalMixture, TimeCalibration, evaluate_time
from chronotope.metrics.time_calibration import SHORTEST_H
from chronotope.models.batch import to_batch
from chronotope.models.gap_features import GapFeatures, gap_features
from chronotope.models.time_head import TimeHead

PROTOCOLS: Final = ("global", "stream", "session")
HEADERS: Final = ("model", "NLL (h)", "|log error|", "80 % covers", "seconds")
LATER_SHARE: Final = 0.1
N_COMPONENTS: Final = 16
EPOCHS: Final = 5
BATCH: Final = 256
LEARNING_RATE: Final = 4e-3
WEIGHT_DECAY: Final = 0.1
CHUNK: Final = 1024
HISTORY_LEN: Final = 1024


@dataclass(frozen=True, slots=True)
class Waits:
    """Waits of a log, split into training, selection and test.

    Attributes:
        stream: The log they come from.
        at: Position of each target in the log, shape (n,).
        hours: Wait of each, shape (n,).
        train, later, test: Rows of training, of the selection of the epoch, and of the test.
        still_open: Rows whose wait had begun but not ended when training ends.
        waited: Hours waited by then, shape of ``still_open``.
    """

    stream: Stream
    at: Int64
    hours: Float64
    train: Int64
    later: Int64
    test: Int64
    still_open: Int64
    waited: Float64

    @property
    def user_idx(self) -> npt.NDArray[np.int32]:
        """User of each wait, shape (n,)."""
        return self.stream.log.user_idx[self.at]


def cut(stream: Stream, protocol: str) -> Waits:
    """The waits of a protocol, in the order of the log."""
    log = stream.log
    at = np.flatnonzero(log.basket_start() > log.user_start())
    if protocol == "session":
        at = at[log.session_idx[at] == log.session_idx[at - 1]]
    ended_s = log.occurred_s[at]
    if protocol == "global":
        first_s, last_s = np.quantile(log.occurred_s, [1 - 2 * LATER_SHARE, 1 - LATER_SHARE])
        is_test = ended_s > last_s
    else:
        first_s = np.quantile(stream.base.occurred_s, 1 - LATER_SHARE)
        is_test = ~np.isin(log.session_idx[at], stream.base.session_idx)
    is_train = ~is_test & (ended_s <= first_s)
    began_s = log.occurred_s[log.basket_start()[at] - 1]
    is_open = ~is_train & (began_s <= first_s) & (protocol != "session")
    masks = (is_train, ~is_test & ~is_train, is_test, is_open)
    train, later, test, still_open = (np.flatnonzero(mask) for mask in masks)
    return Waits(
        stream=stream,
        at=at,
        hours=np.maximum((ended_s - began_s) / 3600.0, SHORTEST_H),
        train=train,
        later=later,
        test=test,
        still_open=still_open,
        waited=(first_s - began_s[still_open]) / 3600.0,
    )


def exponential(waits: Waits) -> TimeCalibration:
    """One exponential distribution for all users, in closed form."""
    mean, true = waits.hours[waits.train].mean(), waits.hours[waits.test]
    low, median, high = (-mean * math.log(1 - q) for q in (0.1, 0.5, 0.9))
    pit, _ = np.histogram(1 - np.exp(-true / mean), bins=10, range=(0, 1))
    return TimeCalibration(
        nll=float(math.log(mean) + true.mean() / mean),
        mean_abs_log_error=float(np.abs(np.log(true / median)).mean()),
        coverage_80=float(((true >= low) & (true <= high)).mean()),
        pit=tuple((pit / len(true)).tolist()),
        n_targets=len(true),
    )


def lognormal(waits: Waits) -> TimeCalibration:
    """One lognormal for all users."""
    log_h = np.log(waits.hours[waits.train])
    return _judge_same(waits, np.zeros(1), log_h.mean(keepdims=True), log_h.std(keepdims=True))


def mixture_8(waits: Waits) -> TimeCalibration:
    """Mixture of eight lognormals for all users, fitted by expectation-maximisation."""
    log_h = np.log(waits.hours[waits.train])
    weight, mean = np.full(8, 1 / 8), np.quantile(log_h, (np.arange(8) + 0.5) / 8)
    scale = np.full(8, log_h.std() / 4)
    for _ in range(200):
        z = (log_h[:, None] - mean) / scale
        share = weight / scale * np.exp(-0.5 * z**2) + 1e-300
        share /= share.sum(1, keepdims=True)
        total = share.sum(0)
        weight, mean = total / total.sum(), share.T @ log_h / total
        spread = (share * (log_h[:, None] - mean) ** 2).sum(0) / total
        scale = np.sqrt(np.maximum(spread, 1e-4))
    return _judge_same(waits, np.log(weight), mean, scale)


def user_median(waits: Waits) -> TimeCalibration:
    """A lognormal around each user's median; around the global median without a history."""
    log_h, user = np.log(waits.hours[waits.train]), waits.user_idx[waits.train]
    order = np.lexsort((log_h, user))
    who, start, count = np.unique(user[order], return_index=True, return_counts=True)
    middle = log_h[order[start + (count - 1) // 2]] + log_h[order[start + count // 2]]
    median = np.full(waits.stream.catalog.users.size, np.median(log_h))
    median[who] = middle / 2
    scale = (log_h - median[user]).std()
    mean = median[waits.user_idx[waits.test]][:, None]
    predicted = LognormalMixture(np.zeros_like(mean), mean, np.full_like(mean, scale))
    return evaluate_time(predicted, waits.hours[waits.test])


def rhythm(waits: Waits) -> TimeCalibration:
    """The model's time head alone, with the best epoch on later time."""
    torch.manual_seed(0)
    seen = _rhythms(waits)
    head = TimeHead(N_COMPONENTS)
    best, best_loss = head.state_dict(), math.inf
    for loss in _epochs(head, seen, waits):
        if loss < best_loss:
            best = {name: value.clone() for name, value in head.state_dict().items()}
            best_loss = loss
    head.load_state_dict(best)
    log_weight, mean, log_scale = _said(head, seen, waits.test).double().unbind(1)
    predicted = LognormalMixture(
        torch.log_softmax(log_weight, 1).numpy(), mean.numpy(), log_scale.exp().numpy()
    )
    return evaluate_time(predicted, waits.hours[waits.test])


MODELS: Final[dict[str, Callable[[Waits], TimeCalibration]]] = {
    "exponential": exponential,
    "lognormal": lognormal,
    "mixture_8": mixture_8,
    "user_median": user_median,
    "rhythm": rhythm,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every model under the chosen protocols, print tables, write the rows."""
    chosen = _parser().parse_args(arguments)
    stream = read_stream(data_set_dir("foursquare_nyc", chosen.data))
    console, rows = Console(), list[Row]()
    for protocol in chosen.protocols:
        waits = cut(stream, protocol)
        found = [_measure(name, waits, protocol) for name in MODELS]
        console.print(_table(found))
        rows += found
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def open_wait_nll(when: Tensor, hours: Tensor) -> Tensor:
    """Negative log-probability of a wait longer than these hours, shape (B,).

    ``-log(1 - F(h))``: the likelihood of a gap that is censored by the end of the log.
    Without it the gaps of a short log look too short.

    Args:
        when: Log-weights, means and log-scales of log hours, shape (B, 3, C).
        hours: Time waited so far, shape (B,); floored at one second.
    """
    log_h = hours.clamp(min=1 / 3600).log()[:, None]
    log_weight, mean, log_scale = when.unbind(1)
    z = (log_h - mean) * torch.exp(-log_scale)
    return -torch.logsumexp(log_weight + torch.special.log_ndtr(-z), dim=1)


def _measure(name: str, waits: Waits, protocol: str) -> Row:
    started = time.perf_counter()
    scores = asdict(MODELS[name](waits))
    row: Row = {"model": name, "protocol": protocol, "time": "hidden"}
    row |= {key: scores[key] for key in ("nll", "mean_abs_log_error", "coverage_80", "n_targets")}
    return row | {"seconds": round(time.perf_counter() - started, 3)}


def _judge_same(
    waits: Waits, log_weight: Float64, mean: Float64, scale: Float64
) -> TimeCalibration:
    """Evaluate one mixture, parts of shape (K,), predicted for every target."""
    parts = (np.tile(part, (len(waits.test), 1)) for part in (log_weight, mean, scale))
    return evaluate_time(LognormalMixture(*parts), waits.hours[waits.test])


def _rhythms(waits: Waits) -> GapFeatures:
    """Gap features of every target, computed once."""
    log = waits.stream.log
    starts = (log.user_start(), log.basket_start())
    parts = []
    for at in np.array_split(waits.at, -(-len(waits.at) // CHUNK)):
        queries = queries_at(
            log, at, history_len=HISTORY_LEN, time_given=False, start_positions=starts
        )
        batch = to_batch(queries, HISTORY_LEN)
        parts.append(gap_features(batch, batch))
    return GapFeatures(*(torch.cat(part) for part in zip(*parts, strict=True)))


def _epochs(head: TimeHead, seen: GapFeatures, waits: Waits) -> Iterator[float]:
    """Train epoch by epoch, yielding the loss on later time after each."""
    rows = torch.from_numpy(np.concatenate([waits.train, waits.still_open]))
    ended = torch.from_numpy(waits.hours).float()
    hours = torch.cat([ended[waits.train], torch.from_numpy(waits.waited).float()])
    is_open = torch.arange(len(rows)) >= len(waits.train)
    optimiser = torch.optim.AdamW(head.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    n_steps = EPOCHS * -(-len(rows) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=n_steps)
    for _ in range(EPOCHS):
        head.train()
        for some in torch.split(torch.randperm(len(rows)), BATCH):
            said = head.mixture(GapFeatures(seen.features[rows[some]], seen.gap_counts[rows[some]]))
            closed, still_open = (
                f(said, hours[some]) for f in (lognormal_mixture_nll, open_wait_nll)
            )
            optimiser.zero_grad()
            torch.autograd.backward(torch.where(is_open[some], still_open, closed).mean())
            torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
            optimiser.step()
            schedule.step()
        later = lognormal_mixture_nll(_said(head, seen, waits.later), ended[waits.later])
        yield float(later.mean())


def _said(head: TimeHead, seen: GapFeatures, rows: Int64) -> Tensor:
    """Predicted mixtures of some rows, shape (n, 3, n_components)."""
    head.eval()
    with torch.no_grad():
        said: Tensor = head.mixture(GapFeatures(seen.features[rows], seen.gap_counts[rows]))
    return said


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.next_time", description="Next time on Foursquare NYC."
    )
    add_data_option(parser)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument(
        "--protocols",
        nargs="+",
        choices=PROTOCOLS,
        default=list(PROTOCOLS),
        help="protocols to run",
    )
    return parser


def _table(rows: Sequence[Row]) -> Table:
    """Table of the rows."""
    title = f"Next time, {rows[0]['protocol']}, {rows[0]['n_targets']:,} targets"
    table = Table(title=title, box=box.SIMPLE_HEAD)
    for header in HEADERS:
        table.add_column(header, justify="left" if header == "model" else "right")
    for row in rows:
        numbers = [f"{row[name]:.3f}" for name in ("nll", "mean_abs_log_error", "coverage_80")]
        table.add_row(str(row["model"]), *numbers, f"{row['seconds']:.1f}")
    return table


if __name__ == "__main__":
    main()
