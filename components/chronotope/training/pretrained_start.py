"""Start of a training from a pretrained checkpoint, with a gentler schedule."""

from pathlib import Path

import torch
from torch import Tensor

from chronotope.contracts.errors import ConfigError
from chronotope.models.network import ChronotopeNet
from chronotope.models.transfer.checkpoint import (
    PretrainedCheckpoint,
    read_checkpoint,
    shipped_checkpoint,
)
from chronotope.models.transfer.parameter_scope import (
    CONTEXT_INPUTS,
    LATER_INPUTS,
    embedded_ids,
    is_transferable,
)
from chronotope.runtime.allowed_paths import require_allowed_path
from chronotope.training.config import REGISTRY_SCHEME, SHIPPED, TrainingConfig

_SCRATCH_WAY_OUT = "Set training.init: scratch, or the sizes of the checkpoint in model"


def start_parameters(net: ChronotopeNet, config: TrainingConfig) -> TrainingConfig:
    """Load the parameters that a training starts from, in place; returns its schedule.

    Args:
        net: A network with its initial parameters.
        config: Where the parameters come from; ``scratch`` changes nothing.

    Returns:
        The configuration; from a checkpoint with fewer passes at a lower rate.

    Raises:
        ArtifactError: The checkpoint is missing, damaged or of another version.
        ConfigError: It has parameters of other names or shapes than the network.
    """
    if not config.is_pretrained:
        return config
    load_parameters(net, open_checkpoint(config.init))
    schedule = {
        "max_epochs": max(1, min(config.max_epochs, config.transfer_epochs)),
        "learning_rate": config.transfer_rate * config.learning_rate,
    }
    return config.model_copy(update=schedule)


def open_checkpoint(init: str) -> PretrainedCheckpoint:
    """Checkpoint of the package, or of a path.

    Args:
        init: ``pretrained``, or a path.

    Raises:
        ArtifactError: The checkpoint is missing, damaged or of another version.
        ConfigError: The path lies outside the folders that flows may use, or is an address in a
            registry, which a flow resolves to a path before the training.
    """
    if init == SHIPPED:
        return shipped_checkpoint()
    if init.startswith(REGISTRY_SCHEME):
        raise ConfigError(
            "An address in the model registry is resolved by the flow train-model only",
            received=init,
            way_out="Download the version and set training.init to the path of its checkpoint",
        )
    return read_checkpoint(require_allowed_path(Path(init)))


def load_parameters(net: ChronotopeNet, checkpoint: PretrainedCheckpoint) -> None:
    """Copy the parameters of a checkpoint into a network, in place.

    Embeddings of categories start at the mean row of the pretraining; context columns, which the
    checkpoint does not know, start without effect. A head or backbone that the pretrained network
    had not keeps its initial values.

    Args:
        net: A network over any catalogue.
        checkpoint: Parameters of a pretrained network.

    Raises:
        ConfigError: A parameter of the checkpoint has no place in the network, or another shape; or
            the network has one that the checkpoint lacks.
    """
    state = net.state_dict()
    _check_names(state, checkpoint)
    loaded = {
        name: _fitted(name, value, state[name]) for name, value in checkpoint.parameters.items()
    }
    net.load_state_dict(state | loaded)


def _check_names(state: dict[str, Tensor], checkpoint: PretrainedCheckpoint) -> None:
    """Compare the names of a network and a checkpoint."""
    unknown = sorted(set(checkpoint.parameters) - set(state))
    modules = {name.split(".")[0] for name in checkpoint.parameters}
    missing = sorted(
        name
        for name in state
        if is_transferable(name)
        and name.split(".")[0] in modules
        and name not in checkpoint.parameters
    )
    if missing or unknown:
        raise ConfigError(
            "The pretrained checkpoint is of a network with other parameters",
            received=f"missing: {', '.join(missing) or 'none'}; "
            f"without a place: {', '.join(unknown) or 'none'}",
            way_out=_SCRATCH_WAY_OUT,
        )


def _fitted(name: str, value: Tensor, initial: Tensor) -> Tensor:
    """Tensor of a checkpoint in the shape of the network's, on its device."""
    if embedded_ids(name) is not None and value.shape == initial.shape[1:]:
        return value.expand_as(initial).clone()
    if name in (*CONTEXT_INPUTS, *LATER_INPUTS) and value.shape[0] == initial.shape[0]:
        n_columns = initial.shape[1] - value.shape[1]
        if n_columns > 0:
            return torch.cat([value, value.new_zeros(len(value), n_columns)], dim=1)
    if value.shape != initial.shape:
        raise ConfigError(
            "A parameter of the pretrained checkpoint has another shape than the network's",
            received=f"{name}: {tuple(value.shape)}, the network has {tuple(initial.shape)}",
            way_out=_SCRATCH_WAY_OUT,
        )
    return value
