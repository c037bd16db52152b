"""Training under user-level differential privacy (DP-SGD).

    g = (sum_u clip(gradient of the loss on u's targets, C) + N(0, (s C)^2)) / (q N)    u drawn

A sample is a user: all of a user's targets make one gradient, which is scaled to a norm of at most
C. Each step draws every user with probability q. Adam and the learning rate see the noisy sum only,
so they cost nothing.

Noise has the same size in every coordinate, so few parameters are trained: the last layer of the
gate, which weighs the parts of the scores, and the output of the repeat head. All others stay those
of the checkpoint.

Source: Abadi et al. (2016), *Deep learning with differential privacy*, algorithm 1; McMahan et al.
(2018), *Learning differentially private recurrent language models*, for users as samples.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import Tensor

from chronotope.contracts.event_log import EventLog, Int64
from chronotope.models.network import ChronotopeNet
from chronotope.models.priors import Priors
from chronotope.training.config import TrainingConfig
from chronotope.training.prequential import PrequentialRound, RoundBatches, new_targets
from chronotope.training.private.config import PrivateTrainingConfig

if TYPE_CHECKING:  # Lightning takes seconds to import, and only a training needs it
    from chronotope.training.lightning_module import NextEventModule

TRAINED: Final = ("gate.2.bias", "repeat_head.mix_out.bias")
"""Parameters that are trained under noise."""


@dataclass(frozen=True, slots=True)
class UserTargets:
    """Targets by user.

    Attributes:
        positions: Positions of the targets in the log, increasing, shape (n_targets,).
        starts: Start of each user's targets among them, shape (n_users + 1,).
    """

    positions: Int64
    starts: Int64

    @property
    def n_users(self) -> int:
        """Number of users with targets."""
        return len(self.starts) - 1

    def of_user(self, user: int, max_targets: int, rng: np.random.Generator) -> Int64:
        """Some targets of a user, increasing."""
        positions = self.positions[self.starts[user] : self.starts[user + 1]]
        if len(positions) <= max_targets:
            return positions
        return np.sort(rng.choice(positions, max_targets, replace=False))


def user_targets(log: EventLog, training: TrainingConfig) -> UserTargets:
    """All events with a history, by user.

    Args:
        log: Events of the training.
        training: Bound of the waiting time; its number of targets is not used, since a sample
            over all users would make one user's part depend on the others.
    """
    unbounded = training.model_copy(update={"max_targets": max(100, len(log))})
    positions = new_targets(log, unbounded, since_s=int(log.occurred_s.min(initial=0)) - 1)
    changes = np.flatnonzero(np.diff(log.user_idx[positions], prepend=-1))
    return UserTargets(positions, np.append(changes, len(positions)).astype(np.int64))


def train_privately(
    net: ChronotopeNet,
    log: EventLog,
    priors: Priors,
    training: TrainingConfig,
    config: PrivateTrainingConfig,
    noise_multiplier: float,
    *,
    seed: int | None = None,
) -> None:
    """Noisy steps over the users of a log, in place.

    Args:
        net: Network with the parameters of a checkpoint of other data.
        log: Events of the training.
        priors: Released counts: they stand beside every target, as they will when it is served.
        training: Batches.
        config: Steps.
        noise_multiplier: Deviation of the noise in units of ``max_gradient_norm``.
        seed: Seed of users and noise, for tests alone: who knows it can remove the noise.
    """
    rng = np.random.default_rng(seed)
    targets = user_targets(log, training)
    if targets.n_users == 0:
        return
    batches = RoundBatches(
        log,
        [PrequentialRound(targets.positions, priors)],
        training.model_copy(update={"batch_size": 8192}),
        model_config=net.config,
        is_training=True,
    )
    from chronotope.training.lightning_module import NextEventModule

    module = NextEventModule(net, training, n_steps=max(1, config.steps))
    trained = [parameter for name, parameter in net.named_parameters() if name in TRAINED]
    optimizer = torch.optim.Adam(trained, lr=config.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, config.steps))
    net.eval()  # dropout would be drawn by the users that take part
    for _ in range(config.steps):
        summed = [torch.zeros_like(parameter) for parameter in trained]
        for user in np.flatnonzero(rng.random(targets.n_users) < config.sample_rate).tolist():
            positions = targets.of_user(user, config.targets_per_user, rng)
            gradients = _user_gradient(module, batches, positions, priors, trained, rng)
            _add_clipped(summed, gradients, config.max_gradient_norm)
        deviation = noise_multiplier * config.max_gradient_norm
        expected_users = config.sample_rate * targets.n_users
        for parameter, gradient in zip(trained, summed, strict=True):
            noise = torch.from_numpy(rng.normal(0.0, deviation, tuple(gradient.shape)))
            parameter.grad = (gradient + noise.to(gradient.dtype)) / expected_users
        optimizer.step()
        schedule.step()


def _user_gradient(
    module: "NextEventModule",
    batches: RoundBatches,
    positions: Int64,
    priors: Priors,
    trained: list[torch.nn.Parameter],
    rng: np.random.Generator,
) -> list[Tensor]:
    """Gradient of the mean loss on some targets of one user."""
    time_given = bool(rng.integers(2))
    batch = batches._make_batch(PrequentialRound(positions, priors), positions, time_given, rng)
    loss = module.training_step(batch, 0)
    gradients = torch.autograd.grad(loss, trained, allow_unused=True)
    return [
        torch.zeros_like(parameter) if gradient is None else gradient
        for parameter, gradient in zip(trained, gradients, strict=True)
    ]


def _add_clipped(summed: list[Tensor], gradients: list[Tensor], max_norm: float) -> None:
    """Add a user's gradient, scaled to a norm of at most ``max_norm``, in place."""
    norm = float(torch.sqrt(sum(((gradient**2).sum() for gradient in gradients), torch.zeros(()))))
    if not np.isfinite(norm):
        return  # a user without a finite gradient takes part with nothing
    scale = min(1.0, max_norm / max(norm, 1e-12))
    for total, gradient in zip(summed, gradients, strict=True):
        total += scale * gradient
