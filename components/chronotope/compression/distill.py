"""Knowledge distillation: a smaller student trained on the scores and times of its teacher."""

import math
from collections.abc import Iterable

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from chronotope.contracts.errors import NotEnoughData
from chronotope.contracts.event_log import Catalog
from chronotope.losses.objectives import lognormal_mixture_nll
from chronotope.models.batch import HISTORY_NAMES, Batch
from chronotope.models.network import ChronotopeNet, NetworkOutput
from chronotope.models.priors import Priors


class DistilConfig(BaseModel):
    """Hyper-parameters of the distillation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(2.0, gt=0.0, le=20.0, description="Softening of the scores.")
    when_weight: float = Field(
        0.2, ge=0.0, description="Weight of the time loss; that of the item loss is 1."
    )
    n_epochs: int = Field(3, ge=1, le=1000, description="Passes over the examples.")
    learning_rate: float = Field(3e-3, gt=0.0, le=1.0, description="Step size of AdamW.")
    seed: int = Field(0, ge=0, description="Seed of initial weights and sampled times.")


def make_student(
    teacher: ChronotopeNet, catalog: Catalog, *, history_len: int, n_hidden: int, seed: int = 0
) -> ChronotopeNet:
    """A student without backbone and with a shorter history; layers of equal shape are copied.

    Args:
        teacher: The trained network.
        catalog: The catalogue the teacher was built for.
        history_len: Events of the past the student reads, at most the teacher's.
        n_hidden: Width of its gates over kernels.
        seed: Seed of the layers that are initialised at random.
    """
    size_overrides = {
        "history_len": min(history_len, teacher.config.history_len),
        "n_hidden": n_hidden,
        "backbone": "none",
        "kernels": True,
        "content": teacher.content_head is not None,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        student = ChronotopeNet(teacher.config.model_copy(update=size_overrides), catalog)
    student_state, teacher_state = student.state_dict(), teacher.state_dict()
    copied_state = {
        name: tensor
        for name, tensor in teacher_state.items()
        if name in student_state and tensor.shape == student_state[name].shape
    }
    student.load_state_dict(student_state | copied_state)
    return student


def distil(
    teacher: ChronotopeNet,
    student: ChronotopeNet,
    examples: Iterable[tuple[Batch, Priors]],
    config: DistilConfig | None = None,
) -> ChronotopeNet:
    """Train the student in place on the teacher's outputs.

    The loss is T^2 KL(teacher || student) over items at temperature T, plus the
    cross-entropy of the time under times sampled from the teacher's mixture.

    Args:
        teacher: The trained network.
        student: The network to train; it may read a shorter history.
        examples: Queries with the priors of their time; read once an epoch.
        config: Hyper-parameters.

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
                teacher_output = teacher(batch, priors)
            student_output = student(latest_events(batch, student.config.history_len), priors)
            loss = _distillation_loss(teacher_output, student_output, config, generator)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
            optimizer.step()
            n_steps += 1
    if n_steps == 0:
        raise NotEnoughData("Distillation needs at least one batch of examples")
    return student.eval()


def latest_events(batch: Batch, history_len: int) -> Batch:
    """The same queries with the latest events of each history only."""
    histories = {name: getattr(batch, name)[:, -history_len:] for name in HISTORY_NAMES}
    return batch._replace(**histories)


def draw_hours(time_mixture: Tensor, generator: torch.Generator) -> Tensor:
    """One sampled time in hours of each lognormal mixture, shape (B,).

    Args:
        time_mixture: Log-weights, means and log-scales of log hours, shape (B, 3, C).
        generator: Source of randomness.
    """
    log_weights, means, log_scales = time_mixture.unbind(1)  # (B, C) each
    component = torch.multinomial(log_weights.exp(), 1, generator=generator)  # (B, 1)
    noise = torch.randn(len(time_mixture), generator=generator)  # (B,)
    mean = means.gather(1, component)[:, 0]  # (B,)
    log_scale = log_scales.gather(1, component)[:, 0]  # (B,)
    return (mean + log_scale.exp() * noise).clamp(max=math.log(1e6)).exp()


def _distillation_loss(
    teacher_output: NetworkOutput,
    student_output: NetworkOutput,
    config: DistilConfig,
    generator: torch.Generator,
) -> Tensor:
    """Divergence of item scores plus weighted cross-entropy of times."""
    temperature = config.temperature
    # without the unknown item: (B, n_items - 1)
    teacher_logs = torch.log_softmax(teacher_output.item_scores[:, 1:] / temperature, dim=1)
    student_logs = torch.log_softmax(student_output.item_scores[:, 1:] / temperature, dim=1)
    item_loss = torch.nn.functional.kl_div(
        student_logs, teacher_logs, reduction="batchmean", log_target=True
    )
    sampled_hours = draw_hours(teacher_output.when, generator)
    time_loss = lognormal_mixture_nll(student_output.when, sampled_hours).mean()
    return temperature**2 * item_loss + config.when_weight * time_loss
