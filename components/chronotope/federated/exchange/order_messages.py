"""Orders of a federation as messages: what a client has to know, and the parameters by name."""

import hashlib
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chronotope.contracts.errors import SourceError
from chronotope.contracts.event_log import Float64
from chronotope.federated.clients.orders import (
    CATALOGUE_FILE,
    COUNTS_FILE,
    PLAN_FILE,
    FederationSpec,
    Stage,
)
from chronotope.federated.config import FederationConfig
from chronotope.federated.counts.plan import TimeBins
from chronotope.federated.exchange.message_folder import Message, NamedArrays
from chronotope.models.config import ModelConfig
from chronotope.models.network import ChronotopeNet
from chronotope.runtime.private_files import private_folder
from chronotope.training.config import TrainingConfig

ORDER: Final = "order"
"""Text of a request: an ``OrderText`` as JSON."""

METRICS: Final = "metrics"
"""Text of an answer: ``RoundMetrics`` as JSON."""

FAILURE: Final = "failure"
"""Text of an answer without a result: the kind of the error, nothing of the data."""

AVERAGED: Final = "averaged/"
"""Prefix of the parameters that a round trains and the transport averages."""

FIXED: Final = "fixed/"
"""Prefix of the parameters that a round reads only."""

FILES: Final = "files/"
"""Prefix of the files that all clients share, compressed with zlib."""

COUNTS: Final = "counts"
"""Array of an answer to a count: the cells of a section, shape (n_cells,)."""

_SHARED_FILES: Final = (CATALOGUE_FILE, PLAN_FILE, COUNTS_FILE)


class OrderText(BaseModel):
    """What a client has to know to answer, beside the arrays.

    The section of a count, or stage, number and learning rate of a round.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["count", "train"] = Field(description="Count a section, or train")
    name: str = Field(description="Name of the aggregation")
    dataset: str = Field(description="Name of the dataset in the clients' lakes")
    time_bins: TimeBins = Field(description="Bins of time; the last one ends with the training")
    model: ModelConfig = Field(description="Network")
    training: TrainingConfig = Field(description="Batches, learning rate and seed")
    federation: FederationConfig = Field(description="Local epochs and FedProx")
    n_clients: int = Field(ge=1, description="Number of clients")
    section_name: str = Field("", description="Section to count")
    stage: Stage = Field("train", description="Targets to train on")
    round_number: int = Field(0, ge=0, description="Number of the round")
    rate_share: float = Field(
        0.0, ge=0.0, description="Share of the learning rate; 0 measures the later loss only"
    )

    def specification(self, broadcast: Path) -> FederationSpec:
        """The federation, with the folder of the files that all clients share."""
        return FederationSpec(
            self.dataset,
            broadcast,
            self.time_bins,
            self.model,
            self.training,
            self.federation,
            self.n_clients,
        )


class RoundMetrics(BaseModel):
    """Metrics of a client, or their sums over clients."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_targets: float = Field(ge=0.0, description="Weight of the parameters: the trained targets")
    later_loss_sum: float = Field(
        description="Sum of the loss of the round's start over the later targets, nats"
    )
    n_later: float = Field(ge=0.0, description="Later targets")


def read_order(message: Message) -> OrderText:
    """Order of a request.

    Raises:
        SourceError: The request is no order of this version.
    """
    try:
        return OrderText.model_validate_json(message.texts.get(ORDER, ""))
    except ValidationError as error:
        raise SourceError(
            "A request is no order of a federation",
            received="; ".join(
                f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
                for problem in error.errors()
            ),
            way_out="Use the same version of Chronotope at coordinator and clients",
        ) from error


def packed_files(broadcast: Path) -> NamedArrays:
    """Files of the coordinator that exist so far, as bytes of shape (n_bytes,)."""
    return {
        f"{FILES}{name}": np.frombuffer(zlib.compress((broadcast / name).read_bytes(), 1), np.uint8)
        for name in _SHARED_FILES
        if (broadcast / name).exists()
    }


def unpack_files(arrays: NamedArrays, parent_dir: Path) -> Path:
    """Write the files of a request; those of the last request are not written again.

    Args:
        arrays: Arrays of the request.
        parent_dir: Folder of the client for them.

    Returns:
        Folder of the files, named by their digest.
    """
    packed = {
        name: arrays[f"{FILES}{name}"] for name in _SHARED_FILES if f"{FILES}{name}" in arrays
    }
    digest = hashlib.blake2b(digest_size=16)
    for name, content in packed.items():
        digest.update(f"{name} {content.nbytes}\n".encode())
        digest.update(content.tobytes())
    folder = private_folder(parent_dir / digest.hexdigest())
    for name, content in packed.items():
        if not (folder / name).exists():
            draft_path = folder / f"{name}.draft"
            draft_path.write_bytes(zlib.decompress(content.tobytes()))
            draft_path.replace(folder / name)
    return folder


def named_parameters(
    network: ChronotopeNet, parameter_names: list[str], flat_vector: Float64
) -> NamedArrays:
    """Parameters of a vector by name, in their shapes."""
    if not parameter_names:
        return {}
    shapes = {name: tuple(parameter.shape) for name, parameter in network.named_parameters()}
    ends = np.cumsum([int(np.prod(shapes[name])) for name in parameter_names])
    parts = np.split(flat_vector, ends[:-1])
    return {
        name: part.reshape(shapes[name]) for name, part in zip(parameter_names, parts, strict=True)
    }


def flat_parameters(
    network: ChronotopeNet, parameter_names: list[str], arrays: Mapping[str, npt.NDArray[Any]]
) -> Float64:
    """Inverse of ``named_parameters``.

    Raises:
        SourceError: A parameter is missing, has another shape, or is not finite.
    """
    shapes = {name: tuple(parameter.shape) for name, parameter in network.named_parameters()}
    wrong = [
        name
        for name in parameter_names
        if name not in arrays
        or arrays[name].shape != shapes[name]
        or not np.isfinite(arrays[name]).all()
    ]
    if wrong:
        raise SourceError(
            "Parameters of a round do not fit the network",
            received=", ".join(wrong),
            way_out="Send the finite parameters of this round, by name and in their shapes",
        )
    values = [np.asarray(arrays[name], np.float64).ravel() for name in parameter_names]
    return np.concatenate(values) if values else np.empty(0)


def with_prefix(prefix: str, arrays: Mapping[str, npt.NDArray[Any]]) -> NamedArrays:
    """Arrays under longer names."""
    return {f"{prefix}{name}": array for name, array in arrays.items()}


def without_prefix(prefix: str, arrays: Mapping[str, npt.NDArray[Any]]) -> NamedArrays:
    """Arrays whose names have a prefix, by the rest of the name."""
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
