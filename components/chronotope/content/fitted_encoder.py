"""Encoders in the lake: which one was used last, and the state of one that was fitted."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from chronotope.content.encoder import Encoder, Modality, encoder_id
from chronotope.content.encoders.tfidf_encoder import NAME, TfidfConfig, TfidfEncoder
from chronotope.content.inputs.item_inputs import InputReader
from chronotope.contracts import columns as c
from chronotope.lake import Lake
from chronotope.lake import table_schemas as t

MAX_FITTED_TEXTS: Final = 100_000
"""Texts that an encoder is fitted on; of a larger catalogue every k-th text."""

_GROWTH: Final = 2.0
"""Factor by which a catalogue has to grow until its encoder is fitted again."""


def fitted_encoder(lake: Lake, reader: InputReader, *, refit: bool) -> TfidfEncoder:
    """TF-IDF encoder of a catalogue: the stored one, or a new one.

    It is fitted once, so that the vectors of known items stay; and again on request, or when the
    catalogue has doubled.

    Args:
        lake: Lake of the dataset.
        reader: Reader of the texts.
        refit: Whether to fit it again in any case.

    Raises:
        NotEnoughData: The texts share no word.
        ArtifactError: The stored state is damaged.
    """
    config = TfidfConfig()
    if not refit:
        stored = _latest_row(lake, Modality.TEXT, NAME)
        n_items = lake.dataset("items").count_rows()
        if (
            stored is not None
            and stored[t.CONFIG] == config.model_dump_json()
            and n_items <= _GROWTH * int(str(stored[t.N_TEXTS]))
        ):
            state = stored[t.STATE]
            encoder = TfidfEncoder.from_bytes(state if isinstance(state, bytes) else b"")
            record_encoder(lake, encoder, config.model_dump_json(), int(str(stored[t.N_TEXTS])))
            return encoder
    texts = sorted(_texts(lake, reader))  # the order of rows in the lake is not fixed
    encoder = TfidfEncoder.fit(texts, config)
    n_texts = lake.dataset("items").count_rows()
    record_encoder(lake, encoder, config.model_dump_json(), n_texts)
    return encoder


def record_encoder(
    lake: Lake, encoder: Encoder, config: str = "", n_texts: int | None = None
) -> None:
    """Write that an encoder is the one in use of its modality.

    Args:
        lake: Lake of the dataset.
        encoder: The encoder.
        config: Its configuration, if it was fitted.
        n_texts: Size of the catalogue that it was fitted on.
    """
    if latest_encoder(lake, encoder.modality) == encoder_id(encoder):
        return
    state = encoder.to_bytes() if isinstance(encoder, TfidfEncoder) else None
    lake.upsert_encoders(
        pa.table(
            {
                t.ENCODER: [encoder_id(encoder)],
                t.NAME: [encoder.name],
                t.MODALITY: [encoder.modality.value],
                t.CONFIG: [config],
                t.N_TEXTS: pa.array([n_texts], pa.int64()),
                t.USED_AT: pa.array([datetime.now(UTC)], pa.timestamp("us", tz="UTC")),
                t.STATE: pa.array([state], pa.binary()),
            }
        )
    )


def latest_encoder(lake: Lake, modality: Modality) -> str | None:
    """Identity of the encoder in use of a modality; None if there is none yet.

    Args:
        lake: Lake of the dataset.
        modality: Kind of content.
    """
    stored = _latest_row(lake, modality, None)
    return None if stored is None else str(stored[t.ENCODER])


def _latest_row(lake: Lake, modality: Modality, name: str | None) -> dict[str, object] | None:
    if not lake.exists("content_encoders"):
        return None
    is_wanted = pc.field(t.MODALITY) == modality.value
    if name is not None:
        is_wanted &= pc.field(t.NAME) == name
    columns = None if name is not None else [t.ENCODER, t.USED_AT]
    rows = lake.dataset("content_encoders").to_table(columns=columns, filter=is_wanted)
    if not len(rows):
        return None
    latest = rows.sort_by([(t.USED_AT, "descending")]).slice(0, 1)
    return dict(latest.to_pylist()[0])


def _texts(lake: Lake, reader: InputReader) -> Iterator[str]:
    catalogue = lake.dataset("items")
    stride = -(-catalogue.count_rows() // MAX_FITTED_TEXTS)
    columns = [name for name in reader.columns if name in catalogue.schema.names]
    lacking = dict.fromkeys(set(reader.columns) - set(columns))
    position = 0
    for batch in catalogue.to_batches(columns=list(dict.fromkeys([c.ITEM_ID, *columns]))):
        for row in batch.to_pylist():
            if position % stride == 0:
                item_input = reader.read(row | lacking)
                if isinstance(item_input.raw, str):
                    yield item_input.raw
            position += 1
