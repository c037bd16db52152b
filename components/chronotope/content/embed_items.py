"""Encoding of a catalogue: the vectors of new and changed items are written to the lake.

A vector is identified by item, modality and encoder; the encoder's identity holds the digest of
its weights. So an item whose content is the same is not encoded again, and after a change of the
encoder every item is.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from chronotope.content.encoder import Encoder, Modality, Vectors, encoder_id
from chronotope.content.encoders.open_encoder import open_pretrained
from chronotope.content.encoders.packaged_weights import MissingWeights
from chronotope.content.fitted_encoder import fitted_encoder, fitted_kind, record_encoder
from chronotope.content.inputs.image_reading import ContentRefused
from chronotope.content.inputs.item_inputs import InputReader, ItemInput, input_reader
from chronotope.content.modality_report import ModalityReport
from chronotope.contracts import columns as c
from chronotope.contracts.errors import NotEnoughData
from chronotope.datasets.content_spec import ModalityContent
from chronotope.lake import Lake
from chronotope.lake import table_schemas as t
from chronotope.lake.text_filter import text_equals

BATCH_ITEMS: Final = 512
"""Items read and encoded together."""

COMMIT_ROWS: Final = 8_192
COMMIT_S: Final = 60.0
"""Rows, and seconds, after which a commit is made: a killed run loses no more than these."""

_SHOWN_ITEMS: Final = 3
_NO_VECTOR: Final = "nothing in it is known to the encoder"


@dataclass(slots=True)
class _Totals:
    n_items: int = 0
    n_encoded: int = 0
    n_unchanged: int = 0
    encode_s: float = 0.0
    reasons: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add_missing(self, item_id: str, reason: str) -> None:
        """Count an item without a vector."""
        self.reasons[reason] += 1
        shown_items = self.examples.setdefault(reason, [])
        if len(shown_items) < _SHOWN_ITEMS:
            shown_items.append(item_id)


@dataclass(slots=True)
class _PendingRows:
    """Rows that are not in the lake yet."""

    lake: Lake
    tables: list[pa.Table] = field(default_factory=list)
    committed_s: float = field(default_factory=time.perf_counter)

    def add(self, item_rows: pa.Table) -> None:
        """Add rows, and commit them if there are many, or if it was long ago."""
        self.tables.append(item_rows)
        is_late = time.perf_counter() - self.committed_s > COMMIT_S
        if is_late or sum(map(len, self.tables)) >= COMMIT_ROWS:
            self.commit()

    def commit(self) -> None:
        """Write the rows in one commit."""
        if self.tables:
            self.lake.upsert_embeddings(pa.concat_tables(self.tables))
        self.tables, self.committed_s = [], time.perf_counter()


def embed_modality(
    modality: Modality,
    item_content: ModalityContent,
    item_lake: Lake,
    *,
    data_dir: Path,
    cache_dir: Path,
    refit: bool = False,
) -> ModalityReport:
    """Encode the items of the lake whose content is new or changed.

    Content that is empty, damaged or too large leaves its item without a vector, with the reason.
    If the weights of the encoder are not installed, or the texts are too few to fit one, the
    modality is left out, and the report says why.

    Args:
        modality: Kind of content.
        item_content: Where it is, its encoder and its bounds.
        item_lake: Lake of the dataset.
        data_dir: Folder of the files.
        cache_dir: Folder of all caches.
        refit: Whether to fit an encoder of the catalogue again; all items are encoded then.

    Raises:
        ConfigError: There is no such encoder.
        ArtifactError: The weights of the encoder are not the expected ones.
        StoreError: The lake cannot be read or written.
    """
    if not item_lake.exists("items"):
        return ModalityReport(modality=modality, skipped="the lake has no items")
    reader = input_reader(item_content, data_dir)
    try:
        kind = fitted_kind(item_content)
        if kind is not None:
            item_encoder: Encoder = fitted_encoder(item_lake, reader, kind, refit=refit)
        else:
            item_encoder = open_pretrained(item_content.encoder, modality, cache_dir)
            record_encoder(item_lake, item_encoder)
    except (MissingWeights, NotEnoughData) as error:
        return ModalityReport(modality=modality, skipped=str(error))
    return _encode_catalogue(item_lake, reader, item_encoder)


def _encode_catalogue(
    item_lake: Lake, reader: InputReader, item_encoder: Encoder
) -> ModalityReport:
    known_rows = known_inputs(item_lake, item_encoder)
    encode_totals, pending_rows = _Totals(), _PendingRows(item_lake)
    for row_batch in item_batches(item_lake, reader.columns):
        started_s = time.perf_counter()
        new_rows = _encode_batch(row_batch, known_rows, encode_totals, reader, item_encoder)
        if new_rows is not None:
            encode_totals.encode_s += time.perf_counter() - started_s
            pending_rows.add(new_rows)
    pending_rows.commit()
    return ModalityReport(
        modality=item_encoder.modality,
        encoder=encoder_id(item_encoder),
        dim=item_encoder.dim,
        n_items=encode_totals.n_items,
        n_encoded=encode_totals.n_encoded,
        n_unchanged=encode_totals.n_unchanged,
        n_missing=encode_totals.reasons.total(),
        reasons=dict(encode_totals.reasons.most_common()),
        examples={reason: tuple(items) for reason, items in encode_totals.examples.items()},
        encode_s=encode_totals.encode_s,
    )


def item_batches(
    item_lake: Lake, columns: Sequence[str], batch_items: int = BATCH_ITEMS
) -> Iterator[list[dict[str, Any]]]:
    """Rows of the catalogue, batch by batch.

    Args:
        item_lake: Lake of the dataset.
        columns: Columns beside ``item_id``; one that the table lacks is null.
        batch_items: Rows of a batch.
    """
    item_dataset = item_lake.dataset("items")
    stored_columns = [name for name in columns if name in item_dataset.schema.names]
    lacking_columns = dict.fromkeys(set(columns) - set(stored_columns))
    wanted_columns = list(dict.fromkeys([c.ITEM_ID, *stored_columns]))
    for row_batch in item_dataset.to_batches(columns=wanted_columns, batch_size=batch_items):
        if len(row_batch):
            yield [row | lacking_columns for row in row_batch.to_pylist()]


def _encode_batch(
    item_rows: Sequence[dict[str, Any]],
    known_rows: dict[str, tuple[str, str | None]],
    encode_totals: _Totals,
    reader: InputReader,
    item_encoder: Encoder,
) -> pa.Table | None:
    """Rows of the new and changed items of a batch; None if there are none."""
    changed_inputs: list[tuple[str, ItemInput]] = []
    for row in item_rows:
        item_id, item_input = str(row[c.ITEM_ID]), reader.read(row)
        known_digest, known_reason = known_rows.get(item_id, ("", None))
        if known_digest != item_input.digest:
            changed_inputs.append((item_id, item_input))
        elif known_reason is None:
            encode_totals.n_unchanged += 1
        else:
            encode_totals.add_missing(item_id, known_reason)
    encode_totals.n_items += len(item_rows)
    if not changed_inputs:
        return None
    encoded_vectors, missing_reasons = encode_inputs(
        [item_input for _, item_input in changed_inputs], reader, item_encoder
    )
    for (item_id, _), reason in zip(changed_inputs, missing_reasons, strict=True):
        if reason is not None:
            encode_totals.add_missing(item_id, reason)
    encode_totals.n_encoded += sum(reason is None for reason in missing_reasons)
    return _embedding_rows(changed_inputs, encoded_vectors, missing_reasons, item_encoder)


def encode_inputs(
    item_inputs: Sequence[ItemInput], reader: InputReader, item_encoder: Encoder
) -> tuple[Vectors, list[str | None]]:
    """Vectors, shape (n, dim), and the reason of each input that has none.

    Args:
        item_inputs: Inputs as their reader has read them.
        reader: That reader.
        item_encoder: The encoder.
    """
    missing_reasons: list[str | None] = [item_input.reason or None for item_input in item_inputs]
    decoded_contents, decoded_positions = [], []
    for position, item_input in enumerate(item_inputs):
        if item_input.raw is None:
            continue
        try:
            decoded_contents.append(reader.decode(item_input.raw))
        except ContentRefused as refusal:
            missing_reasons[position] = refusal.problem
            continue
        decoded_positions.append(position)
    encoded_vectors = np.zeros((len(item_inputs), item_encoder.dim), dtype=np.float32)
    if decoded_contents:
        encoded_vectors[decoded_positions] = item_encoder.encode(decoded_contents)
    for position in decoded_positions:
        if not np.isfinite(encoded_vectors[position]).all() or not encoded_vectors[position].any():
            missing_reasons[position] = _NO_VECTOR
    return encoded_vectors, missing_reasons


def _embedding_rows(
    changed_inputs: Sequence[tuple[str, ItemInput]],
    encoded_vectors: Vectors,
    missing_reasons: Sequence[str | None],
    item_encoder: Encoder,
) -> pa.Table:
    encoder_identity, n_rows = encoder_id(item_encoder), len(changed_inputs)
    item_ids = [item_id for item_id, _ in changed_inputs]
    stored_vectors = [
        None if reason is not None else vector
        for vector, reason in zip(encoded_vectors, missing_reasons, strict=True)
    ]
    return pa.table(
        {
            t.ROW_KEY: [
                _row_key(item_id, item_encoder.modality, encoder_identity) for item_id in item_ids
            ],
            c.ITEM_ID: item_ids,
            t.MODALITY: [item_encoder.modality.value] * n_rows,
            t.ENCODER: [encoder_identity] * n_rows,
            t.INPUT_DIGEST: [item_input.digest for _, item_input in changed_inputs],
            t.VECTOR: pa.array(stored_vectors, pa.list_(pa.float32())),
            t.REASON: pa.array(missing_reasons, pa.string()),
        }
    )


def _row_key(item_id: str, modality: Modality, encoder_identity: str) -> str:
    item_content = f"{modality}\n{encoder_identity}\n{item_id}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(item_content, digest_size=16).hexdigest()


def known_inputs(item_lake: Lake, item_encoder: Encoder) -> dict[str, tuple[str, str | None]]:
    """Input digest of each item that an encoder has seen, and why it has no vector.

    Args:
        item_lake: Lake of the dataset.
        item_encoder: The encoder.
    """
    if not item_lake.exists("item_embeddings"):
        return {}
    is_current = text_equals(t.ENCODER, encoder_id(item_encoder)) & text_equals(
        t.MODALITY, item_encoder.modality.value
    )
    stored_rows = item_lake.dataset("item_embeddings").to_table(
        columns=[c.ITEM_ID, t.INPUT_DIGEST, t.REASON], filter=is_current
    )
    digests_and_reasons = zip(
        stored_rows.column(t.INPUT_DIGEST).to_pylist(),
        stored_rows.column(t.REASON).to_pylist(),
        strict=True,
    )
    return dict(zip(stored_rows.column(c.ITEM_ID).to_pylist(), digests_and_reasons, strict=True))
