"""What items are: encoders of texts, images and sounds, and the vectors of the items.

Encoders:
    Encoder: Protocol of all encoders.
    encoder_id: Name of an encoder with the digest of its weights.
    open_pretrained: Pretrained encoder by its name.
    TfidfEncoder: Text encoder fitted on the catalogue, without pretrained weights.

Vectors of the items:
    embed_modality: Encode new and changed items into the lake.
    read_vectors: Vectors of items from the lake.

New items:
    ColdItemModel: Scores of items without events, from their content.
"""

from chronotope.content.embed_items import ModalityReport, embed_modality
from chronotope.content.encoder import Encoder, Modality, encoder_id
from chronotope.content.item_vectors import ItemVectors, read_vectors
from chronotope.content.open_encoder import open_pretrained
from chronotope.content.tfidf_encoder import TfidfEncoder

__all__ = [
    "Encoder",
    "ItemVectors",
    "Modality",
    "ModalityReport",
    "TfidfEncoder",
    "embed_modality",
    "encoder_id",
    "open_pretrained",
    "read_vectors",
]
