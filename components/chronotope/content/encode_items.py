"""Vectors of single items by the encoders of a model, outside of the lake."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chronotope.content.embed_items import encode_inputs
from chronotope.content.encoder import Encoder, Modality, Vectors, encoder_id
from chronotope.content.encoders.open_encoder import open_pretrained
from chronotope.content.fitted_encoder import is_fitted, stored_encoder
from chronotope.content.inputs.item_inputs import InputReader, input_reader
from chronotope.contracts import columns as c
from chronotope.contracts.errors import ConfigError
from chronotope.datasets.content_spec import ModalityContent
from chronotope.lake import Lake


@dataclass(frozen=True, slots=True)
class ModelEncoder:
    """Encoder of one modality of a model, and the reader of its inputs.

    Attributes:
        encoder: The encoder that the model was trained with.
        reader: Reader of the items' columns or files.
    """

    encoder: Encoder
    reader: InputReader

    def encode(self, item_rows: Sequence[Mapping[str, Any]]) -> tuple[Vectors, list[str | None]]:
        """Vectors of some items, shape (n, dim), and why an item has none.

        Args:
            item_rows: Values by column; one that is left out is missing.
        """
        missing_columns = dict.fromkeys((c.ITEM_ID, *self.reader.columns))
        item_inputs = [self.reader.read({**missing_columns, **item_row}) for item_row in item_rows]
        return encode_inputs(item_inputs, self.reader, self.encoder)


def open_model_encoder(
    identity: str,
    modality: Modality,
    content: ModalityContent,
    item_lake: Lake,
    *,
    data_dir: Path,
    cache_dir: Path,
) -> ModelEncoder:
    """The encoder that a model was trained with; vectors of another one never reach it.

    Args:
        identity: Name and digest of the encoder, as the bundle's axes name it.
        modality: Kind of content.
        content: Where the content of the items is, and the name of an encoder.
        item_lake: Lake of the dataset, which holds the state of a fitted encoder.
        data_dir: Folder of the files.
        cache_dir: Folder of all caches.

    Raises:
        ConfigError: The encoder here is another one than the model's.
        MissingWeights: Its weights are not installed.
        ArtifactError: Its weights or its state are not the expected ones.
    """
    encoder: Encoder = (
        stored_encoder(item_lake, identity)
        if is_fitted(identity)
        else open_pretrained(content.encoder, modality, cache_dir)
    )
    if encoder_id(encoder) != identity:
        raise ConfigError(
            f"The {modality.value} encoder is not the one that the model was trained with",
            received=f"{encoder_id(encoder)}; the model reads {identity}",
            way_out="Name the model's encoder in the dataset's YAML, or train a new model",
        )
    return ModelEncoder(encoder, input_reader(content, data_dir))
