"""How many items an encoding would encode, without encoding or storing anything."""

from pathlib import Path

from chronotope.content.embed_items import item_batches, known_inputs
from chronotope.content.encoder import Encoder, Modality, encoder_id
from chronotope.content.encoders.open_encoder import open_pretrained
from chronotope.content.encoders.packaged_weights import MissingWeights
from chronotope.content.fitted_encoder import current_encoder, fitted_kind
from chronotope.content.inputs.item_inputs import input_reader
from chronotope.content.modality_report import ModalityReport
from chronotope.contracts import columns as c
from chronotope.datasets.content_spec import ModalityContent
from chronotope.lake import Lake


def count_changes(
    modality: Modality,
    item_content: ModalityContent,
    item_lake: Lake,
    *,
    data_dir: Path,
    cache_dir: Path,
    refit: bool = False,
) -> ModalityReport:
    """Items that ``embed_modality`` would encode, as ``n_encoded``; contents are not decoded.

    Args:
        modality: Kind of content.
        item_content: Where it is, its encoder and its bounds.
        item_lake: Lake of the dataset.
        data_dir: Folder of the files.
        cache_dir: Folder of all caches.
        refit: Whether an encoder of the catalogue would be fitted again.

    Raises:
        ConfigError: There is no such encoder.
        ArtifactError: The weights or the stored state of the encoder are damaged.
        StoreError: The lake cannot be read.
    """
    if not item_lake.exists("items"):
        return ModalityReport(modality=modality, skipped="the lake has no items")
    reader, kind = input_reader(item_content, data_dir), fitted_kind(item_content)
    item_encoder: Encoder | None
    if kind is not None:
        item_encoder = None if refit else current_encoder(item_lake, kind)
    else:
        try:
            item_encoder = open_pretrained(item_content.encoder, modality, cache_dir)
        except MissingWeights as error:
            return ModalityReport(modality=modality, skipped=str(error))
    known = {} if item_encoder is None else known_inputs(item_lake, item_encoder)
    n_items = n_changed = n_missing = 0
    for item_rows in item_batches(item_lake, reader.columns):
        n_items += len(item_rows)
        for row in item_rows:
            item_input = reader.read(row)
            known_digest, known_reason = known.get(str(row[c.ITEM_ID]), ("", None))
            if known_digest != item_input.digest:
                n_missing += bool(item_input.reason)
                n_changed += not item_input.reason
            else:
                n_missing += known_reason is not None
    return ModalityReport(
        modality=modality,
        encoder=item_content.encoder if item_encoder is None else encoder_id(item_encoder),
        n_items=n_items,
        n_encoded=n_changed,
        n_unchanged=n_items - n_changed - n_missing,
        n_missing=n_missing,
    )
