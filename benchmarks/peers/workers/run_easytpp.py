"""Neural point processes by EasyTPP: when a user's next event comes.

    python -m benchmarks.peers.workers.run_easytpp FOLDER

Reads ``events.parquet`` and ``task.json`` of the folder (see ``benchmarks/next_time/peers.py``) and
writes ``MODEL.npz``. Two learning rates are tried with the categories as marks, the better one with
the hours of the day too, each within the budget; the setting and the epoch with the best
likelihood of the selection waits forecast the test waits.

The models are trained by EasyTPP's own likelihood of times and marks, over windows of 128 events.
Times are divided by the mean gap of the training. The density of a forecast is that of the
mixture, or comes from the total intensity, integrated by trapezoids over 200 points from a second
to four years.
"""

import json
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
import pyarrow.parquet as pq
import torch
from easy_tpp.model import RMTPP, THP, IntensityFree

MODELS: Final = {"RMTPP": RMTPP, "THP": THP, "IntensityFree": IntensityFree}
HIDDEN: Final = 64
WINDOW: Final = 128
BATCH: Final = 16
TRAIN, LATER, TEST = 1, 2, 3
N_HOURS: Final = 24
N_SELECTION: Final = 3000
"""Selection waits that choose epoch and setting, at most."""

RATES: Final = (2e-3, 5e-3)
"""Learning rates of Adam; the better one is tried with the other marks."""

PATIENCE: Final = 2
"""Epochs without a better likelihood of the selection waits before a training stops."""

FIRST_H, LAST_H, N_GRID = 1 / 3600, 4 * 365 * 24.0, 200
SMALLEST: Final = 1e-12


class Config(SimpleNamespace):
    """Configuration of a model as it reads it: attributes, and ``get``."""

    def get(self, name: str, default: Any = None) -> Any:
        """Attribute of this name."""
        return getattr(self, name, default)


@dataclass(frozen=True)
class Events:
    """Events ordered by user and time; times in mean gaps of the training.

    Attributes:
        user, role: Shape (n,).
        at, gap, target: Time, gap to the event before, and the same for training; shape (n,).
        scale_h: Hours in a unit of time.
        half_width: Half of the time that the log does not resolve.
        marks: Marks by name, shape (n,).
    """

    user: np.ndarray
    role: np.ndarray
    at: np.ndarray
    gap: np.ndarray
    target: np.ndarray
    scale_h: float
    half_width: float
    marks: dict[str, np.ndarray]


@dataclass(frozen=True)
class Forecast:
    """Forecasts of some events, in units of time; shape (n,) each."""

    log_score: np.ndarray
    median: np.ndarray
    cdf_low: np.ndarray
    cdf_high: np.ndarray


def main() -> None:
    """Train all settings, forecast the test waits by the best."""
    folder = Path(sys.argv[1])
    task = json.loads((folder / "task.json").read_text(encoding="utf-8"))
    torch.set_num_threads(1)
    events = read_events(folder, task)
    best = min((trained(events, "category", rate, task) for rate in RATES), key=lambda t: t.loss)
    best = min(best, trained(events, "hour", best.rate, task), key=lambda t: t.loss)
    print(f"chosen: {best.mark}, rate {best.rate}", flush=True)
    found = forecast(best.model, events, best.mark, TEST)
    np.savez(
        folder / f"{task['model']}.npz",
        log_score=found.log_score - math.log(events.scale_h),
        median_h=found.median * events.scale_h,
        cdf_low=found.cdf_low,
        cdf_high=found.cdf_high,
    )


@dataclass(frozen=True)
class Trained:
    """A trained model, its setting, and its NLL of the selection waits."""

    model: Any
    mark: str
    rate: float
    loss: float


def trained(events: Events, mark: str, rate: float, task: dict[str, Any]) -> Trained:
    """Train one setting."""
    n_marks = task["n_categories"] if mark == "category" else N_HOURS
    torch.manual_seed(task["seed"])
    model = make_model(task["model"], n_marks)
    loss = train(model, events, mark, rate, task)
    print(f"{mark}, rate {rate}: later NLL {loss + math.log(events.scale_h):.4f}", flush=True)
    return Trained(model, mark, rate, loss)


def read_events(folder: Path, task: dict[str, Any]) -> Events:
    """Events of a task."""
    table = pq.read_table(folder / "events.parquet")
    column = {name: table[name].to_numpy() for name in table.column_names}
    scale_h = float(column["gap_h"][column["role"] == TRAIN].mean())
    return Events(
        user=column["user_idx"],
        role=column["role"],
        at=column["hour_of_log"] / scale_h,
        gap=np.maximum(column["gap_h"], FIRST_H) / scale_h,
        target=np.maximum(column["target_h"], FIRST_H) / scale_h,
        scale_h=scale_h,
        half_width=task["half_width_h"] / scale_h,
        marks={name: column[name].astype(np.int64) for name in ("category", "hour")},
    )


def make_model(name: str, n_marks: int) -> Any:
    """A model of EasyTPP in the size of its examples, with 64 mixture components."""
    config = Config(
        model_id=name,
        hidden_size=HIDDEN,
        time_emb_size=HIDDEN,
        num_layers=2,
        num_heads=2,
        dropout_rate=0.1,
        use_ln=False,
        use_mc_samples=False,
        loss_integral_num_sample_per_step=20,
        num_event_types=n_marks,
        num_event_types_pad=n_marks + 1,
        pad_token_id=n_marks,
        thinning=None,
        gpu=-1,
        model_specs={"num_mix_components": 64},
    )
    return MODELS[name](config)


def windows(events: Events, chosen: np.ndarray, stride: int) -> list[np.ndarray]:
    """Rows of windows of each user's chosen events, the last of them not cut off."""
    rows = np.flatnonzero(chosen)
    found = []
    for of_user in np.split(rows, np.flatnonzero(np.diff(events.user[rows])) + 1):
        last = max(1, len(of_user) - WINDOW + stride)
        found += [of_user[at : at + WINDOW] for at in range(0, last, stride)]
    return [window for window in found if len(window) > 1]


def batch_of(
    model: Any, events: Events, some: list[np.ndarray], mark: str, *, training: bool
) -> dict[str, torch.Tensor]:
    """Padded inputs of some windows, shape (B, L)."""
    width = max(map(len, some))
    pad = model.pad_token_id

    def padded(values: np.ndarray, fill: float) -> torch.Tensor:
        column = np.full((len(some), width), fill, dtype=values.dtype)
        for row, window in enumerate(some):
            column[row, : len(window)] = values[window]
        tensor = torch.from_numpy(column)
        return tensor.float() if tensor.is_floating_point() else tensor

    is_event = padded(np.ones(len(events.user), dtype=np.int64), 0).bool()
    gap = padded(events.target if training else events.gap, 0.0)
    at = padded(events.at, 0.0)
    at = (at - at[:, :1]) * is_event
    if isinstance(
        model, RMTPP
    ):  # it reads the gap, as its paper says, not the time since the start
        at = padded(np.log(events.gap), 0.0)
    future = torch.triu(torch.ones(width, width), diagonal=1).bool()
    return {
        "time_seqs": at,
        "time_delta_seqs": gap,
        "type_seqs": padded(events.marks[mark], pad),
        "seq_non_pad_mask": is_event,
        "attention_mask": future.expand(len(some), -1, -1),
    }


def train(model: Any, events: Events, mark: str, rate: float, task: dict[str, Any]) -> float:
    """Train within the budget, keep the best epoch; returns its NLL of the selection waits."""
    began = time.process_time()
    is_first = np.append(True, np.diff(events.user) != 0)
    past = windows(events, (events.role == TRAIN) | is_first, WINDOW - 1)
    optimiser = torch.optim.Adam(model.parameters(), rate)
    rng = np.random.default_rng(task["seed"])
    best, best_loss, n_worse = model.state_dict(), math.inf, 0
    n_epochs = 0
    while time.process_time() - began < task["budget_s"] and n_worse < PATIENCE:
        model.train()
        order = rng.permutation(len(past))
        for at in range(0, len(order), BATCH):
            inputs = batch_of(
                model, events, [past[row] for row in order[at : at + BATCH]], mark, training=True
            )
            loss, n_events = model.loglike_loss(**inputs)
            optimiser.zero_grad()
            (loss / max(1, n_events)).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
        n_epochs += 1
        later = -float(forecast(model, events, mark, LATER, N_SELECTION).log_score.mean())
        if later < best_loss:
            best_loss, n_worse = later, 0
            best = {name: value.clone() for name, value in model.state_dict().items()}
        else:
            n_worse += 1
    model.load_state_dict(best)
    print(f"{n_epochs} epochs, {time.process_time() - began:.0f} s", flush=True)
    return best_loss


@torch.no_grad()
def forecast(
    model: Any, events: Events, mark: str, role: int, at_most: int | None = None
) -> Forecast:
    """Forecasts of the events of a role, each from at least 63 events before it, if there are."""
    model.eval()
    half = WINDOW // 2
    scored: list[tuple[np.ndarray, np.ndarray]] = []
    for window in windows(events, np.ones(len(events.user), dtype=bool), half):
        is_start = window[0] == 0 or events.user[window[0] - 1] != events.user[window[0]]
        first = 1 if is_start else half
        places = np.arange(first, len(window))
        places = places[events.role[window[places]] == role]
        if len(places):
            scored.append((window, places))
    if at_most is not None:
        n_waits = np.cumsum([len(places) for _, places in scored])
        every = max(1, int(n_waits[-1] / at_most))
        scored = scored[::every]
    found, rows = [], []
    for at in range(0, len(scored), BATCH):
        some = scored[at : at + BATCH]
        inputs = batch_of(model, events, [window for window, _ in some], mark, training=False)
        which = np.concatenate([np.full(len(places), b) for b, (_, places) in enumerate(some)])
        where = np.concatenate([places for _, places in some])
        target = np.concatenate([window[places] for window, places in some])
        found.append(_forecast(model, inputs, which, where - 1, events.gap[target], events))
        rows.append(target)
    order = np.argsort(np.concatenate(rows), kind="stable")
    names = ("log_score", "median", "cdf_low", "cdf_high")
    return Forecast(
        *(np.concatenate([getattr(part, name) for part in found])[order] for name in names)
    )


def _forecast(
    model: Any,
    inputs: dict[str, torch.Tensor],
    which: np.ndarray,
    where: np.ndarray,
    true: np.ndarray,
    events: Events,
) -> Forecast:
    """Forecasts after the events ``where`` of the windows ``which``."""
    wait = torch.from_numpy(true)
    sides = [(wait + side).clamp(min=0.0) for side in (-events.half_width, events.half_width)]
    grid = torch.from_numpy(np.append(0.0, np.geomspace(FIRST_H, LAST_H, N_GRID) / events.scale_h))
    if isinstance(model, IntensityFree):
        context = model.forward(inputs["time_delta_seqs"], inputs["type_seqs"])[which, where]
        mean, log_scale, weight = model.linear(context).double().chunk(3, dim=-1)
        scale = log_scale.clamp(-5.0, 3.0).exp()
        log_weight = torch.log_softmax(weight, -1)

        def cdf(times: torch.Tensor) -> torch.Tensor:
            z_score = (times.clamp(min=1e-9).log()[..., None] - mean[:, None]) / scale[:, None]
            cumulative: torch.Tensor = torch.special.ndtr(z_score)
            return (log_weight.exp()[:, None] * cumulative).sum(-1)

        log_time = wait.clamp(min=1e-9).log()
        z_score = (log_time[:, None] - mean) / scale
        log_normal = -0.5 * z_score.square() - scale.log() - 0.5 * math.log(2 * math.pi)
        log_density = torch.logsumexp(log_weight + log_normal, -1) - log_time
        on_grid = cdf(grid.expand(len(wait), -1))
        low, high = (cdf(side[:, None])[:, 0] for side in sides)
    else:
        points = torch.cat([grid.expand(len(wait), -1), torch.stack([*sides, wait], 1)], 1)
        intensity = _intensity(model, inputs, which, where, points.float()).double()
        steps = (intensity[:, 1 : len(grid)] + intensity[:, : len(grid) - 1]) / 2 * grid.diff()
        total = torch.nn.functional.pad(steps.cumsum(1), (1, 0))  # (n, len(grid))
        at_points = [
            _integral(total, intensity, grid, points[:, len(grid) + k], len(grid) + k)
            for k in range(3)
        ]
        on_grid = 1 - torch.exp(-total)
        low, high = (1 - torch.exp(-at_points[k]) for k in range(2))
        log_density = intensity[:, -1].clamp(min=SMALLEST).log() - at_points[2]
    if events.half_width > 0:
        log_score = (high - low).clamp(min=SMALLEST).log() - math.log(2 * events.half_width)
    else:
        log_score = log_density
    beyond = (on_grid < 0.5).sum(1).clamp(1, len(grid) - 1)[:, None]
    left, right = on_grid.gather(1, beyond - 1), on_grid.gather(1, beyond)
    share = ((0.5 - left) / (right - left).clamp(min=SMALLEST)).clamp(0, 1)[:, 0]
    before, after = grid[beyond[:, 0] - 1], grid[beyond[:, 0]]
    median = before + share * (after - before)
    parts = (log_score, median, low, high)
    return Forecast(*(part.numpy() for part in parts))


def _intensity(
    model: Any,
    inputs: dict[str, torch.Tensor],
    which: np.ndarray,
    where: np.ndarray,
    times: torch.Tensor,
) -> torch.Tensor:
    """Sum of the intensities of all marks after some events, shape of ``times``, (n, G)."""
    if isinstance(model, RMTPP):
        batch = inputs["time_seqs"], inputs["time_delta_seqs"], inputs["type_seqs"], None, None
        hidden = model.forward(batch)[1][which, where][:, None]
        found: torch.Tensor = model.evolve_and_get_intentsity(hidden, times[:, None])
        return found.sum(-1)[:, 0]
    encoded = model.forward(inputs["time_seqs"], inputs["type_seqs"], inputs["attention_mask"])
    states = model.compute_states_at_sample_times(encoded[which, where][:, None], times[:, None])
    intensity: torch.Tensor = model.softplus(states)
    return intensity.sum(-1)[:, 0]


def _integral(
    total: torch.Tensor, intensity: torch.Tensor, grid: torch.Tensor, times: torch.Tensor, k: int
) -> torch.Tensor:
    """Integral of the intensity up to one time each, whose intensity is column ``k``."""
    cell = (torch.searchsorted(grid, times.contiguous(), right=True) - 1).clamp(0, len(grid) - 1)[
        :, None
    ]
    ends = intensity.gather(1, cell)[:, 0] + intensity[:, k]
    return total.gather(1, cell)[:, 0] + ends / 2 * (times - grid[cell[:, 0]])


if __name__ == "__main__":
    main()
