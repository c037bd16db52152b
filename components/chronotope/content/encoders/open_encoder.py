"""Encoders by the name in a dataset's YAML."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from chronotope.content.encoder import Encoder, Modality
from chronotope.content.encoders.audio_encoder import open_audio_encoder
from chronotope.content.encoders.image_encoder import EFFICIENTNET, open_efficientnet
from chronotope.content.encoders.pretrained_text import (
    E5,
    MINILM,
    open_e5,
    open_local_text_encoder,
    open_minilm,
)
from chronotope.contracts.errors import ConfigError
from chronotope.runtime.allowed_paths import require_allowed_path
from chronotope.runtime.file_cache import FileCache

_PRETRAINED: Final[Mapping[Modality, Mapping[str, Callable[[FileCache], Encoder]]]] = {
    Modality.TEXT: {MINILM: lambda _: open_minilm(), E5: lambda _: open_e5()},
    Modality.IMAGE: {EFFICIENTNET: open_efficientnet},
    Modality.AUDIO: {},
    Modality.ATTRIBUTES: {},  # fitted on the catalogue
}


def open_pretrained(name: str, modality: Modality, cache_dir: Path) -> Encoder:
    """Pretrained encoder of a name, or of the path of an ONNX file.

    Args:
        name: Name, or path that ends in ``.onnx``.
        modality: Kind of content.
        cache_dir: Folder of all caches; graphs are kept in it.

    Raises:
        ConfigError: There is no such encoder.
        MissingWeights: Its weights are not installed.
        ArtifactError: Its weights are not the expected ones.
    """
    if modality is Modality.TEXT and name.endswith(".onnx"):
        return open_local_text_encoder(require_allowed_path(Path(name)))
    if modality is Modality.AUDIO and name.endswith(".onnx"):
        return open_audio_encoder(require_allowed_path(Path(name)))
    open_by_name = _PRETRAINED[modality]
    if name not in open_by_name:
        known_names = ["tfidf"] if modality is Modality.TEXT else []
        raise ConfigError(
            f"There is no {modality} encoder of this name",
            received=name,
            way_out=f"Choose from {[*known_names, *open_by_name]}"
            + ("" if modality is Modality.IMAGE else ", or name an ONNX file"),
        )
    return open_by_name[name](FileCache(cache_dir / "encoders"))


def pretrained_names() -> tuple[str, ...]:
    """Names of the pretrained encoders, of all modalities."""
    return tuple(name for open_by_name in _PRETRAINED.values() for name in open_by_name)
