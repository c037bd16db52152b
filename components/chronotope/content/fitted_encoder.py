"""Encoders in the lake: which one was used last, and the state of one that was fitted."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import pyarrow as pa

from chronotope.content.encoder import Encoder, Modality, encoder_id
from chronotope.content.encoders.attribute_encoder import NAME as ATTRIBUTES
from chronotope.content.encoders.attribute_encoder import AttributeEncoder
from chronotope.content.encoders.tfidf_encoder import NAME as TFIDF
from chronotope.content.encoders.tfidf_encoder import TfidfConfig, TfidfEncoder
from chronotope.content.inputs.item_inputs import InputReader
from chronotope.contracts import columns as c
from chronotope.datasets.content_spec import AttributeContent, ModalityContent, TextContent
from chronotope.lake import Lake
from chronotope.lake import table_schemas as t
from chronotope.lake.text_filter import text_equals

MAX_FITTED_ITEMS: Final = 100_000
"""Items that an encoder is fitted on; of a larger catalogue every k-th."""

FittedEncoder = TfidfEncoder | AttributeEncoder

_READERS: Final[Mapping[str, Callable[[bytes], FittedEncoder]]] = {
    TFIDF: TfidfEncoder.from_bytes,
    ATTRIBUTES: AttributeEncoder.from_bytes,
}
_GROWTH: Final = 2.0
"""Factor by which a catalogue has to grow until its encoder is fitted again."""


@dataclass(frozen=True, slots=True)
class FittedKind:
    """Encoder that is fitted on the catalogue, before it is.

    Attributes:
        name: Its name.
        modality: Kind of content.
        config: Its configuration; another one needs another fit.
        fit: Fit on decoded contents.
        from_bytes: Encoder of a stored state.
    """

    name: str
    modality: Modality
    config: str
    fit: Callable[[Sequence[Any]], FittedEncoder]
    from_bytes: Callable[[bytes], FittedEncoder]


def fitted_kind(content: ModalityContent) -> FittedKind | None:
    """Encoder that a kind of content is fitted with; None if its encoder is pretrained.

    Args:
        content: Configuration of the kind of content.
    """
    if isinstance(content, AttributeContent):
        return FittedKind(
            ATTRIBUTES,
            Modality.ATTRIBUTES,
            content.model_dump_json(),
            partial(AttributeEncoder.fit, min_items=content.min_items),
            AttributeEncoder.from_bytes,
        )
    if isinstance(content, TextContent) and content.encoder == TFIDF:
        config = TfidfConfig()
        return FittedKind(
            TFIDF,
            Modality.TEXT,
            config.model_dump_json(),
            partial(TfidfEncoder.fit, tfidf_config=config),
            TfidfEncoder.from_bytes,
        )
    return None


def fitted_encoder(
    item_lake: Lake, reader: InputReader, kind: FittedKind, *, refit: bool
) -> FittedEncoder:
    """Encoder of a catalogue: the stored one, or a new one.

    It is fitted once, so that the vectors of known items stay; and again on request, when its
    configuration changes, or when the catalogue has doubled.

    Args:
        item_lake: Lake of the dataset.
        reader: Reader of the contents.
        kind: How the encoder is fitted.
        refit: Whether to fit it again in any case.

    Raises:
        NotEnoughData: The contents have nothing in common.
        ArtifactError: The stored state is damaged.
    """
    stored_row = None if refit else _current_row(item_lake, kind)
    if stored_row is not None:
        encoder, n_fitted = _read_encoder(stored_row, kind), int(str(stored_row[t.N_TEXTS]))
    else:
        # the order of rows in the lake is not fixed
        encoder = kind.fit([reader.decode(raw) for raw in sorted(_contents(item_lake, reader))])
        n_fitted = item_lake.dataset("items").count_rows()
    record_encoder(item_lake, encoder, kind.config, n_fitted)
    return encoder


def current_encoder(item_lake: Lake, kind: FittedKind) -> FittedEncoder | None:
    """Encoder that ``fitted_encoder`` would take from the lake; None if it would fit one.

    Args:
        item_lake: Lake of the dataset.
        kind: How the encoder is fitted.

    Raises:
        ArtifactError: The stored state is damaged.
    """
    stored_row = _current_row(item_lake, kind)
    return None if stored_row is None else _read_encoder(stored_row, kind)


def _current_row(item_lake: Lake, kind: FittedKind) -> dict[str, object] | None:
    """Stored row of the encoder; None if its configuration is another, or the catalogue doubled."""
    stored_row = _latest_row(item_lake, kind.modality, kind.name)
    if stored_row is None or stored_row[t.CONFIG] != kind.config:
        return None
    n_items = item_lake.dataset("items").count_rows()
    return stored_row if n_items <= _GROWTH * int(str(stored_row[t.N_TEXTS])) else None


def _read_encoder(stored_row: dict[str, object], kind: FittedKind) -> FittedEncoder:
    encoder_state = stored_row[t.STATE]
    return kind.from_bytes(encoder_state if isinstance(encoder_state, bytes) else b"")


def record_encoder(
    item_lake: Lake, encoder: Encoder, config: str = "", n_items: int | None = None
) -> None:
    """Write that an encoder is the one in use of its modality.

    Args:
        item_lake: Lake of the dataset.
        encoder: The encoder.
        config: Its configuration, if it was fitted.
        n_items: Size of the catalogue that it was fitted on.
    """
    if latest_encoder(item_lake, encoder.modality) == encoder_id(encoder):
        return
    encoder_state = (
        encoder.to_bytes() if isinstance(encoder, TfidfEncoder | AttributeEncoder) else None
    )
    item_lake.upsert_encoders(
        pa.table(
            {
                t.ENCODER: [encoder_id(encoder)],
                t.NAME: [encoder.name],
                t.MODALITY: [encoder.modality.value],
                t.CONFIG: [config],
                t.N_TEXTS: pa.array([n_items], pa.int64()),
                t.USED_AT: pa.array([datetime.now(UTC)], pa.timestamp("us", tz="UTC")),
                t.STATE: pa.array([encoder_state], pa.binary()),
            }
        )
    )


def is_fitted(identity: str) -> bool:
    """Whether an encoder was fitted on a catalogue, by its name.

    Args:
        identity: Name and digest.
    """
    return identity.split("@")[0] in _READERS


def stored_encoder(item_lake: Lake, identity: str) -> FittedEncoder:
    """Fitted encoder of an identity, also one that is no longer in use.

    Args:
        item_lake: Lake of the dataset.
        identity: Name and digest, as a bundle names it.

    Raises:
        ArtifactError: The lake does not have it, or its state is damaged.
    """
    return _READERS[identity.split("@")[0]](_state(item_lake, identity) or b"")


def latest_encoder(item_lake: Lake, modality: Modality) -> str | None:
    """Identity of the encoder in use of a modality; None if there is none yet.

    Args:
        item_lake: Lake of the dataset.
        modality: Kind of content.
    """
    stored_row = _latest_row(item_lake, modality, None)
    return None if stored_row is None else str(stored_row[t.ENCODER])


def stored_fitted_encoder(item_lake: Lake, identity: str) -> FittedEncoder | None:
    """Fitted encoder of an identity; None if it was not fitted, or is not stored.

    Args:
        item_lake: Lake of the dataset.
        identity: Name of the encoder and digest of its weights.

    Raises:
        ArtifactError: The stored state is damaged.
    """
    state = _state(item_lake, identity) if is_fitted(identity) else None
    return None if state is None else stored_encoder(item_lake, identity)


def _state(item_lake: Lake, identity: str) -> bytes | None:
    if not item_lake.exists("content_encoders"):
        return None
    rows = item_lake.dataset("content_encoders").to_table(
        columns=[t.STATE], filter=text_equals(t.ENCODER, identity)
    )
    states = [state for state in rows[t.STATE].to_pylist() if state is not None]
    return states[0] if states else None


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


def _contents(item_lake: Lake, reader: InputReader) -> Iterator[str]:
    item_dataset = item_lake.dataset("items")
    item_stride = -(-item_dataset.count_rows() // MAX_FITTED_ITEMS)
    stored_columns = [name for name in reader.columns if name in item_dataset.schema.names]
    lacking_columns = dict.fromkeys(set(reader.columns) - set(stored_columns))
    item_position = 0
    for batch in item_dataset.to_batches(columns=list(dict.fromkeys([c.ITEM_ID, *stored_columns]))):
        for row in batch.to_pylist():
            if item_position % item_stride == 0:
                item_input = reader.read(row | lacking_columns)
                if isinstance(item_input.raw, str):
                    yield item_input.raw
            item_position += 1
