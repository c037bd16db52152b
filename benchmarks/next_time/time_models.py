"""Chronotope's models of waits: the time head alone, and the trained and compressed network."""

import math
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import torch
from torch import Tensor

from benchmarks.next_time.case import Case
from benchmarks.next_time.forecasts import Forecasts, mixture_forecasts
from benchmarks.next_time.waits import Waits
from chronotope.artifact.bundle import MODEL, write_bundle
from chronotope.artifact.open_bundle import BundleRecommender, open_bundle
from chronotope.compression.export import export_onnx
from chronotope.compression.graph_variants import derive_variant
from chronotope.contracts.event_log import Int64
from chronotope.contracts.queries import queries_at
from chronotope.losses.objectives import lognormal_mixture_nll
from chronotope.metrics import LognormalMixture
from chronotope.models.config import ModelConfig
from chronotope.models.gap_features import GapFeatures
from chronotope.models.time_head import TimeHead
from chronotope.training.config import TrainingConfig
from chronotope.training.recommender import ChronotopeRecommender

N_COMPONENTS: Final = 16
EPOCHS: Final = 5
BATCH: Final = 256
LEARNING_RATE: Final = 4e-3
WEIGHT_DECAY: Final = 0.1
CHUNK: Final = 256


def time_head(case: Case) -> Forecasts:
    """The model's time head alone, with the best epoch on later time."""
    torch.manual_seed(case.seed)
    head = TimeHead(N_COMPONENTS, case.waits.source.catalog.categories.size)
    best, best_loss = head.state_dict(), math.inf
    for loss in _epochs(head, case):
        if loss < best_loss:
            best = {name: value.clone() for name, value in head.state_dict().items()}
            best_loss = loss
    head.load_state_dict(best)
    return _forecasts(case.waits, _predicted(head, case, case.waits.test))


def champion(case: Case) -> Forecasts:
    """The whole network, trained with all heads on the training time, exported with int8 tables."""
    waits = case.waits
    log, catalog = waits.source.log, waits.source.catalog
    network = ChronotopeRecommender(ModelConfig(), TrainingConfig(seed=case.seed))
    network.fit(log.before(math.floor(waits.train_until_s) + 1), catalog)
    with TemporaryDirectory() as scratch:
        bundle = _bundle(network, Path(scratch), case)
        return _forecasts(waits, _served(bundle, waits))


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
    z_score = (log_h - mean) * torch.exp(-log_scale)
    return -torch.logsumexp(log_weight + torch.special.log_ndtr(-z_score), dim=1)


def _epochs(head: TimeHead, case: Case) -> Iterator[float]:
    """Train epoch by epoch, yielding the loss on later time after each."""
    waits = case.waits
    rows = torch.from_numpy(np.concatenate([waits.train, waits.still_open]))
    ended = torch.from_numpy(case.dequantized_h).float()
    hours = torch.cat([ended[waits.train], torch.from_numpy(waits.waited).float()])
    is_open = torch.arange(len(rows)) >= len(waits.train)
    optimiser = torch.optim.AdamW(head.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    n_steps = EPOCHS * -(-len(rows) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=n_steps)
    for _ in range(EPOCHS):
        head.train()
        for some in torch.split(torch.randperm(len(rows)), BATCH):
            when = _mixture(head, case, rows[some])
            closed, still_open = (
                f(when, hours[some]) for f in (lognormal_mixture_nll, open_wait_nll)
            )
            optimiser.zero_grad()
            torch.autograd.backward(torch.where(is_open[some], still_open, closed).mean())
            torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
            optimiser.step()
            schedule.step()
        later = lognormal_mixture_nll(_predicted(head, case, waits.later), ended[waits.later])
        yield float(later.mean())


def _predicted(head: TimeHead, case: Case, rows: Int64) -> Tensor:
    """Predicted mixtures of some rows, shape (n, 3, n_components)."""
    head.eval()
    with torch.no_grad():
        return torch.cat(
            [_mixture(head, case, some) for some in torch.split(torch.from_numpy(rows), 16 * CHUNK)]
        )


def _mixture(head: TimeHead, case: Case, rows: Tensor) -> Tensor:
    """Mixtures of some rows, shape (n, 3, K)."""
    inputs = GapFeatures(*(column.index_select(0, rows) for column in case.inputs))
    when: Tensor = head.mixture(inputs, case.last_category[rows])
    return when


def _forecasts(waits: Waits, when: Tensor) -> Forecasts:
    log_weight, mean, log_scale = when.double().unbind(1)
    mixture = LognormalMixture(
        torch.log_softmax(log_weight, 1).numpy(), mean.numpy(), log_scale.exp().numpy()
    )
    return mixture_forecasts(mixture, waits.hours[waits.test], waits.half_width_h)


def _bundle(network: ChronotopeRecommender, folder: Path, case: Case) -> BundleRecommender:
    """The exported network with int8 tables, as it is served."""
    export_onnx(network.net, network.priors, folder / "exported.onnx")
    derive_variant(folder / "exported.onnx", folder / MODEL, "int8_tables")
    about = {"name": "champion", "dataset": "benchmark", "data_version": "0"}
    write_bundle(
        folder,
        case.waits.source.catalog,
        history_len=network.history_len,
        trained_until_s=int(case.waits.train_until_s),
        **about,
    )
    return open_bundle(folder)


def _served(bundle: BundleRecommender, waits: Waits) -> Tensor:
    """Mixtures that the bundle answers for the test waits, shape (n, 3, n_components)."""
    log = waits.source.log
    starts = (log.user_start(), log.basket_start())
    positions = waits.positions[waits.test]
    answers = [
        bundle.answer(
            queries_at(
                log,
                some,
                history_len=bundle.history_len,
                time_given=False,
                start_positions=starts,
            )
        ).when
        for some in np.array_split(positions, -(-len(positions) // CHUNK))
    ]
    return torch.from_numpy(np.concatenate(answers))
