"""Encoders in the lake: which one was used last, and the state of one that was fitted."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import pyarrow as pa

from chronotope.content.encoder import Encoder, Modality, encoder_id
from chronotope.content.encoders.tfidf_encoder import NAME, TfidfConfig, TfidfEncoder
from chronotope.content.inputs.item_inputs import InputReader
from chronotope.contracts import columns as c
from chronotope.lake import Lake
from chronotope.lake import table_schemas as t
from chronotope.lake.text_filter import text_equals

MAX_FITTED_TEXTS: Final = 100_000
"""Texts that an encoder is fitted on; of a larger catalogue every k-th text."""

_GROWTH: Final = 2.0
"""Factor by which a catalogue has to grow until its encoder is fitted again."""


def fitted_encoder(item_lake: Lake, text_reader: InputReader, *, refit: bool) -> TfidfEncoder:
    """TF-IDF encoder of a catalogue: the stored one, or a new one.

    It is fitted once, so that the vectors of known items stay; and again on request, or when the
    catalogue has doubled.

    Args:
        item_lake: Lake of the dataset.
        text_reader: Reader of the texts.
        refit: Whether to fit it again in any case.

    Raises:
        NotEnoughData: The texts share no word.
        ArtifactError: The stored state is damaged.
    """
    tfidf_config = TfidfConfig()
    if not refit:
        stored_row = _latest_row(item_lake, Modality.TEXT, NAME)
        n_items = item_lake.dataset("items").count_rows()
        if (
            stored_row is not None
            and stored_row[t.CONFIG] == tfidf_config.model_dump_json()
            and n_items <= _GROWTH * int(str(stored_row[t.N_TEXTS]))
        ):
            encoder_state = stored_row[t.STATE]
            text_encoder = TfidfEncoder.from_bytes(
                encoder_state if isinstance(encoder_state, bytes) else b""
            )
            record_encoder(
                item_lake,
                text_encoder,
                tfidf_config.model_dump_json(),
                int(str(stored_row[t.N_TEXTS])),
            )
            return text_encoder
    item_texts = sorted(
        _texts(item_lake, text_reader)
    )  # the order of rows in the lake is not fixed
    text_encoder = TfidfEncoder.fit(item_texts, tfidf_config)
    n_texts = item_lake.dataset("items").count_rows()
    record_encoder(item_lake, text_encoder, tfidf_config.model_dump_json(), n_texts)
    return text_encoder


def record_encoder(
    item_lake: Lake, text_encoder: Encoder, tfidf_config: str = "", n_texts: int | None = None
) -> None:
    """Write that an encoder is the one in use of its modality.

    Args:
        item_lake: Lake of the dataset.
        text_encoder: The encoder.
        tfidf_config: Its configuration, if it was fitted.
        n_texts: Size of the catalogue that it was fitted on.
    """
    if latest_encoder(item_lake, text_encoder.modality) == encoder_id(text_encoder):
        return
    encoder_state = text_encoder.to_bytes() if isinstance(text_encoder, TfidfEncoder) else None
    item_lake.upsert_encoders(
        pa.table(
            {
                t.ENCODER: [encoder_id(text_encoder)],
                t.NAME: [text_encoder.name],
                t.MODALITY: [text_encoder.modality.value],
                t.CONFIG: [tfidf_config],
                t.N_TEXTS: pa.array([n_texts], pa.int64()),
                t.USED_AT: pa.array([datetime.now(UTC)], pa.timestamp("us", tz="UTC")),
                t.STATE: pa.array([encoder_state], pa.binary()),
            }
        )
    )


def stored_encoder(item_lake: Lake, identity: str) -> TfidfEncoder:
    """Fitted encoder of an identity, also one that is no longer in use.

    Args:
        item_lake: Lake of the dataset.
        identity: Name and digest, as a bundle names it.

    Raises:
        ArtifactError: The lake does not have it, or its state is damaged.
    """
    rows = (
        item_lake.dataset("content_encoders").to_table(
            columns=[t.STATE], filter=text_equals(t.ENCODER, identity)
        )
        if item_lake.exists("content_encoders")
        else None
    )
    encoder_state = rows.column(t.STATE)[0].as_py() if rows is not None and len(rows) else b""
    return TfidfEncoder.from_bytes(encoder_state)


def latest_encoder(item_lake: Lake, modality: Modality) -> str | None:
    """Identity of the encoder in use of a modality; None if there is none yet.

    Args:
        item_lake: Lake of the dataset.
        modality: Kind of content.
    """
    stored_row = _latest_row(item_lake, modality, None)
    return None if stored_row is None else str(stored_row[t.ENCODER])


def stored_fitted_encoder(item_lake: Lake, identity: str) -> TfidfEncoder | None:
    """Fitted encoder of an identity; None if it was not fitted, or is not stored.

    Args:
        item_lake: Lake of the dataset.
        identity: Name of the encoder and digest of its weights.

    Raises:
        ArtifactError: The stored state is damaged.
    """
    if not item_lake.exists("content_encoders"):
        return None
    rows = item_lake.dataset("content_encoders").to_table(
        columns=[t.STATE], filter=text_equals(t.ENCODER, identity)
    )
    states = [state for state in rows[t.STATE].to_pylist() if state is not None]
    return TfidfEncoder.from_bytes(states[0]) if states else None


def _latest_row(item_lake: Lake, modality: Modality, name: str | None) -> dict[str, object] | None:
    if not item_lake.exists("content_encoders"):
        return None
    is_wanted = text_equals(t.MODALITY, modality.value)
    if name is not None:
        is_wanted &= text_equals(t.NAME, name)
    stored_columns = None if name is not None else [t.ENCODER, t.USED_AT]
    rows = item_lake.dataset("content_encoders").to_table(columns=stored_columns, filter=is_wanted)
    if not len(rows):
        return None
    latest_rows = rows.sort_by([(t.USED_AT, "descending")]).slice(0, 1)
    return dict(latest_rows.to_pylist()[0])


def _texts(item_lake: Lake, text_reader: InputReader) -> Iterator[str]:
    item_dataset = item_lake.dataset("items")
    item_stride = -(-item_dataset.count_rows() // MAX_FITTED_TEXTS)
    stored_columns = [name for name in text_reader.columns if name in item_dataset.schema.names]
    lacking_columns = dict.fromkeys(set(text_reader.columns) - set(stored_columns))
    item_position = 0
    for batch in item_dataset.to_batches(columns=list(dict.fromkeys([c.ITEM_ID, *stored_columns]))):
        for row in batch.to_pylist():
            if item_position % item_stride == 0:
                item_input = text_reader.read(row | lacking_columns)
                if isinstance(item_input.raw, str):
                    yield item_input.raw
            item_position += 1
