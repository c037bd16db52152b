"""Checkpoint of a pretrained network: its transferable parameters in a safetensors file.

The file is read without unpickling. Its metadata hold the version of the format, the configuration
of the network, the names that its inputs and outputs stand for, a card that says which logs it saw,
and a digest of the tensors, since safetensors does not notice a changed byte.
"""

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

import safetensors
import safetensors.torch
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from chronotope.contracts.errors import ArtifactError
from chronotope.features.activity_counts import ACTIVITY_NAMES
from chronotope.models.config import ModelConfig
from chronotope.models.kernels import KERNEL_FACTORS
from chronotope.models.prior_scores import PRIOR_NAMES
from chronotope.models.transfer.network_file import tensor_digest
from chronotope.models.transfer.parameter_scope import embedded_ids, is_transferable
from chronotope.runtime.durable_files import replacing

FORMAT_VERSION: Final = "1"

SHIPPED_FILE: Final = "pretrained.safetensors"
"""Checkpoint of the package, beside this module; its card is ``pretrained.md``."""

SHIPPED_SHA256: Final = "06f070ebcc301c0d5878c962e99408b142e6f104db5397d629dcdc01d61f1557"
"""Digest of the shipped file."""

MAX_BYTES: Final = 64 * 1024 * 1024
"""Largest checkpoint that is read; the shipped one has a hundredth of it."""

_CONTEXT_PREFIX: Final = "context_head."
"""Prefix of the embeddings that belong to the context columns of one log."""

_WAY_OUT: Final = "Pretrain again with `chronotope pretrain`, or set training.init: scratch"


@dataclass(frozen=True, slots=True)
class PretrainedCheckpoint:
    """Transferable parameters of a pretrained network.

    Attributes:
        model: Configuration of the network.
        parameters: Tensors by state key; of an embedding the mean row, shape (d,).
        card: Markdown that says what the network saw.
    """

    model: ModelConfig
    parameters: dict[str, Tensor]
    card: str


def transferable_state(net: nn.Module) -> dict[str, Tensor]:
    """Transferable parameters of a network, and the mean row of each embedding of categories.

    Args:
        net: A trained network.
    """
    state: dict[str, Tensor] = {}
    for state_key, value in net.state_dict().items():
        if is_transferable(state_key):
            state[state_key] = value.detach().cpu().clone()
        elif embedded_ids(state_key) == "categories" and not state_key.startswith(_CONTEXT_PREFIX):
            known_rows = value[1:] if len(value) > 1 else value
            state[state_key] = known_rows.detach().cpu().mean(0)
    return state


def write_checkpoint(path: Path, checkpoint: PretrainedCheckpoint) -> str:
    """Write a checkpoint atomically.

    Args:
        path: The file, by convention with the suffix ``.safetensors``.
        checkpoint: What ``read_checkpoint`` returns.

    Returns:
        SHA-256 of the file.
    """
    parameters = {name: value.contiguous() for name, value in checkpoint.parameters.items()}
    item_metadata = {
        "version": FORMAT_VERSION,
        "model": checkpoint.model.model_dump_json(),
        "names": _names_digest(),
        "card": checkpoint.card,
        "digest": tensor_digest(dict(parameters)),
    }
    content = safetensors.torch.save(parameters, item_metadata)
    with replacing(path) as draft:
        draft.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def read_checkpoint(path: Path) -> PretrainedCheckpoint:
    """Read and verify a checkpoint.

    Raises:
        ArtifactError: The file is missing, damaged, too large, or of another version.
    """
    try:
        n_bytes = path.stat().st_size
        if n_bytes > MAX_BYTES:
            raise _unreadable(path, f"{n_bytes:,} bytes, at most {MAX_BYTES:,}")
        with safetensors.safe_open(path, framework="pt") as opened:
            item_metadata = dict(opened.metadata() or {})
            parameters = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (OSError, safetensors.SafetensorError) as error:
        raise _unreadable(path, str(error)) from error
    problem_text = _problem(item_metadata, parameters)
    if problem_text:
        raise _unreadable(path, problem_text)
    try:
        model = ModelConfig.model_validate_json(item_metadata["model"])
    except ValidationError as error:
        raise _unreadable(path, str(error)) from error
    return PretrainedCheckpoint(model, parameters, item_metadata.get("card", ""))


def shipped_checkpoint() -> PretrainedCheckpoint:
    """Checkpoint of the package.

    Raises:
        ArtifactError: The file is missing, or its content is not the pinned one.
    """
    path = shipped_path()
    if not path.is_file():
        raise _unreadable(path, "no such file")
    content_digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if content_digest != SHIPPED_SHA256:
        raise _unreadable(path, f"SHA-256 {content_digest}, expected {SHIPPED_SHA256}")
    return read_checkpoint(path)


def shipped_path() -> Path:
    """Path of the checkpoint of the package."""
    return Path(str(files(__package__).joinpath(SHIPPED_FILE)))


def _problem(metadata: dict[str, str], parameters: dict[str, Tensor]) -> str:
    """Reason why the content cannot be used; "" if there is none."""
    if metadata.get("version") != FORMAT_VERSION:
        return f"format version {metadata.get('version')}, this release reads {FORMAT_VERSION}"
    if metadata.get("names") != _names_digest():
        return "the kernels, priors or counts of its network are not those of this release"
    if metadata.get("digest") != tensor_digest(dict(parameters)):
        return "the content differs from its digest"
    if not all(bool(torch.isfinite(value).all()) for value in parameters.values()):
        return "a parameter is not a finite number"
    return "" if "model" in metadata else "it has no configuration of a network"


def _names_digest() -> str:
    """Digest of what the inputs and outputs stand for: equal shapes may have other meanings."""
    names = repr((KERNEL_FACTORS, PRIOR_NAMES, ACTIVITY_NAMES))
    return hashlib.blake2b(names.encode(), digest_size=8).hexdigest()


def _unreadable(path: Path, problem: str) -> ArtifactError:
    return ArtifactError(
        "The pretrained checkpoint cannot be used", received=f"{path}: {problem}", way_out=_WAY_OUT
    )
