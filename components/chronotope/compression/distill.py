"""A smaller student that learns what the teacher says, not only what happened."""

import math
from collections.abc import Iterable

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from chronotope.contracts.errors import NotEnoughData
from chronotope.contracts.event_log import Catalog
from chronotope.losses.objectives import lognormal_mixture_nll
from chronotope.models.batch import Batch
from chronotope.models.network import ChronotopeNet, NetworkOutput
from chronotope.models.priors import Priors


class DistilConfig(BaseModel):
    """How the student listens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(2.0, gt=0.0, le=20.0, description="Softening of the scores.")
    when_weight: float = Field(0.2, ge=0.0, description="Weight of *when* beside *what*.")
    n_epochs: int = Field(3, ge=1, le=1000, description="Passes over the examples.")
    learning_rate: float = Field(3e-3, gt=0.0, le=1.0, description="Step size of AdamW.")
    seed: int = Field(0, ge=0, description="Seed of initial weights and drawn times.")


def make_student(
    teacher: ChronotopeNet, catalog: Catalog, *, history_len: int, n_hidden: int, seed: int = 0
) -> ChronotopeNet:
    """A student of kernels alone that reads less; equal layers start as the teacher's.

    Args:
        teacher: The trained network.
        catalog: The catalogue the teacher was built for.
        history_len: Events of the past the student reads, at most the teacher's.
        n_hidden: Width of its gates over kernels.
        seed: Seed of the layers that start afresh.
    """
    size = {
        "history_len": min(history_len, teacher.config.history_len),
        "n_hidden": n_hidden,
        "backbone": "none",
        "kernels": True,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        student = ChronotopeNet(teacher.config.model_copy(update=size), catalog)
    own, taught = student.state_dict(), teacher.state_dict()
    same = {k: v for k, v in taught.items() if k in own and v.shape == own[k].shape}
    student.load_state_dict(own | same)
    return student


def distil(
    teacher: ChronotopeNet,
    student: ChronotopeNet,
    examples: Iterable[tuple[Batch, Priors]],
    config: DistilConfig | None = None,
) -> ChronotopeNet:
    """Train the student in place on the teacher's answers.

    The loss is T^2 KL(teacher || student) over items at temperature T, plus the
    cross-entropy of *when* under times drawn from the teacher's mixture.

    Args:
        teacher: The trained network.
        student: The network to train; it may read a shorter history.
        examples: Queries with the priors of their time; read once an epoch.
        config: Settings.

    Returns:
        The student, in evaluation mode.

    Raises:
        NotEnoughData: There is no example.

    Source:
        Hinton et al., Distilling the Knowledge in a Neural Network, 2015.
    """
    config = config or DistilConfig()
    teacher.eval()
    student.train()
    generator = torch.Generator().manual_seed(config.seed)
    optimizer = torch.optim.AdamW(student.parameters(), lr=config.learning_rate)
    n_steps = 0
    for _ in range(config.n_epochs):
        for batch, priors in examples:
            with torch.no_grad():
                said = teacher(batch, priors)
            heard = student(latest_events(batch, student.config.history_len), priors)
            loss = _loss(said, heard, config, generator)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
            optimizer.step()
            n_steps += 1
    if n_steps == 0:
        raise NotEnoughData("Distillation needs at least one batch of examples")
    return student.eval()


def latest_events(batch: Batch, history_len: int) -> Batch:
    """The same questions with the latest events only."""
    return Batch(*(x[:, -history_len:] if x.ndim == 2 else x for x in batch))


def draw_hours(when: Tensor, generator: torch.Generator) -> Tensor:
    """One time in hours from each lognormal mixture, shape (B,).

    Args:
        when: Log-weights, means and log-scales of log hours, shape (B, 3, C).
        generator: Source of randomness.
    """
    log_weight, mean, log_scale = when.unbind(1)
    component = torch.multinomial(log_weight.exp(), 1, generator=generator)  # (B, 1)
    noise = torch.randn(len(when), generator=generator)
    chosen = mean.gather(1, component)[:, 0], log_scale.gather(1, component)[:, 0]
    return (chosen[0] + chosen[1].exp() * noise).clamp(max=math.log(1e6)).exp()


def _loss(
    said: NetworkOutput, heard: NetworkOutput, config: DistilConfig, generator: torch.Generator
) -> Tensor:
    """Divergence of *what* plus weighted cross-entropy of *when*."""
    t = config.temperature
    target = torch.log_softmax(said.item_scores[:, 1:] / t, dim=1)
    found = torch.log_softmax(heard.item_scores[:, 1:] / t, dim=1)
    what = torch.nn.functional.kl_div(found, target, reduction="batchmean", log_target=True)
    hours = draw_hours(said.when, generator)
    when = lognormal_mixture_nll(heard.when, hours).mean()
    return t**2 * what + config.when_weight * when
