"""Files of networks and priors: atomic writes, and a checksum verified on read.

Torch's archive does not notice a changed byte in a tensor, so the file also holds a digest of all
tensors.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import torch

from chronotope.runtime.durable_files import replacing

_DIGEST: Final = "digest"


def save_tensors(path: Path, content: dict[str, Any]) -> None:
    """Write a dictionary of strings, numbers, tensors and dictionaries of these.

    Args:
        path: The file; it is durable on disk on return.
        content: The dictionary that ``load_tensors`` returns.
    """
    with replacing(path) as draft:
        torch.save({**content, _DIGEST: tensor_digest(content)}, draft)


def load_tensors(path: Path) -> dict[str, Any]:
    """Load a file of ``save_tensors``; only tensors, strings and numbers are unpickled.

    A file without a digest, from an earlier release, is loaded unchecked.

    Raises:
        ValueError: The content differs from its digest.
        Exception: The archive is damaged; the type depends on the damage.
    """
    content: dict[str, Any] = torch.load(path, weights_only=True)
    content_digest = content.pop(_DIGEST, None)
    if content_digest not in (None, tensor_digest(content)):
        raise ValueError(f"{path}: the content differs from its digest")
    return content


def tensor_digest(content: dict[str, Any]) -> str:
    """Digest of a dictionary of strings, numbers, tensors and dictionaries of these."""
    content_digest = hashlib.blake2b(digest_size=16)
    for name, value in _leaves(content, ""):
        if isinstance(value, torch.Tensor):
            content_digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            plain = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            content_digest.update(plain.numpy().data)
        else:
            content_digest.update(f"{name} {value!r}\n".encode())
    return content_digest.hexdigest()


def _leaves(content: dict[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    for name in sorted(content):
        value = content[name]
        if isinstance(value, dict):
            yield from _leaves(value, f"{above}{name}/")
        else:
            yield f"{above}{name}", value
