"""Summaries of a catalogue's long texts in the lake; only new and changed texts are summarised."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

import pyarrow as pa

from chronotope.content.embed_items import item_batches
from chronotope.content.inputs.item_inputs import TextReader
from chronotope.content.summaries.chat_endpoint import (
    ChatEndpoint,
    EndpointUnusable,
    GeneratedSummary,
)
from chronotope.content.summaries.extractive import SentenceEncoder, summarise
from chronotope.content.summaries.summary_report import SummaryReport
from chronotope.contracts import columns as c
from chronotope.datasets.content_spec import SummarySpec, TextContent
from chronotope.lake import Lake
from chronotope.lake import table_schemas as t

_VERSION: Final = 1
"""Version of the extractive summary; part of its digest."""
_COMMIT_ROWS: Final = 256
_MAX_FAILURES: Final = 3
"""Failures in a row after which a run asks the endpoint no more."""
_REASON_CHARS: Final = 300
_NO_WRITER: Final = "none"


class SummaryWriter(Protocol):
    """Endpoint that writes summaries."""

    @property
    def digest(self) -> str:
        """Digest of its settings."""

    def summarise(self, text: str) -> GeneratedSummary:
        """Summary of a text.

        Args:
            text: Cleaned text.

        Raises:
            EndpointUnusable: There is no usable reply.
        """


class _SummaryRow(NamedTuple):
    item_id: str
    input_digest: str
    summary: str | None
    attributes: str | None
    writer: str
    reason: str | None


@dataclass(slots=True)
class _Summariser:
    """Extractive summaries, and those of an endpoint as long as it replies."""

    spec: SummarySpec
    encode_sentences: SentenceEncoder | None
    encoder: str
    endpoint: SummaryWriter | None
    n_sent: int = 0
    n_generated: int = 0
    n_failures: int = 0
    replies: dict[str, GeneratedSummary] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def extractive_writer(self) -> str:
        digest_parts = json.dumps([_VERSION, self.spec.max_chars, self.encoder])
        return f"extractive@{hashlib.sha256(digest_parts.encode()).hexdigest()[:16]}"

    @property
    def writer(self) -> str:
        if self.endpoint is None or self.spec.endpoint is None:
            return self.extractive_writer
        return f"{self.spec.endpoint.model}@{self.endpoint.digest[:16]}"

    def new_rows(
        self, item_id: str, text: str | None, digest: str, known: tuple[str, str] | None
    ) -> tuple[str, list[_SummaryRow]]:
        """Outcome for one item, and its row if the stored one is not that of its text.

        Args:
            item_id: The item.
            text: Its text; None if it has none.
            digest: Digest of the text.
            known: Digest and writer of the stored row.
        """
        if text is None or len(text) <= self.spec.max_chars:
            withdrawn_row = _SummaryRow(item_id, digest, None, None, _NO_WRITER, "text is short")
            # a text that was long once has a summary that is not its own any more
            return "short", [withdrawn_row] if known not in (None, (digest, _NO_WRITER)) else []
        if known == (digest, self.writer):
            return "unchanged", []
        return "summarised", [self.row(item_id, text, digest)]

    def row(self, item_id: str, text: str, input_digest: str) -> _SummaryRow:
        """Summary of one item."""
        chat_reply, drop_reason = self._reply(text, input_digest)
        if chat_reply is not None and chat_reply.summary:
            self.n_generated += 1
            item_summary, summary_writer = chat_reply.summary, self.writer
        else:
            item_summary = summarise(text, self.spec.max_chars, self.encode_sentences)
            # Without a reply the endpoint is asked again in the next run.
            summary_writer = self.extractive_writer if chat_reply is None else self.writer
        if drop_reason:
            self.reasons[drop_reason.partition(":")[0]] += 1
        attributes_json = (
            json.dumps(dict(chat_reply.attributes))
            if chat_reply and chat_reply.attributes
            else None
        )
        return _SummaryRow(
            item_id,
            input_digest,
            item_summary,
            attributes_json,
            summary_writer,
            drop_reason[:_REASON_CHARS] or None,
        )

    def _reply(self, text: str, input_digest: str) -> tuple[GeneratedSummary | None, str]:
        """Reply of the endpoint and its reason; None if it was not asked, or did not reply."""
        if self.endpoint is None or self.spec.endpoint is None:
            return None, ""
        if input_digest in self.replies:
            return self.replies[input_digest], self.replies[input_digest].reason
        if self.n_failures >= _MAX_FAILURES:
            return None, f"endpoint: left out after {_MAX_FAILURES} failures in a row"
        if self.n_sent >= self.spec.endpoint.max_items:
            return None, "endpoint: max_items of this run is reached"
        self.n_sent += 1
        try:
            chat_reply = self.endpoint.summarise(text)
        except EndpointUnusable as error:
            self.n_failures += 1
            return None, f"endpoint: {error}"
        self.n_failures = 0
        self.replies[input_digest] = chat_reply
        return chat_reply, chat_reply.reason


def summarise_items(
    item_lake: Lake,
    spec: SummarySpec,
    *,
    encode_sentences: SentenceEncoder | None = None,
    encoder: str = "",
    endpoint: SummaryWriter | None = None,
) -> SummaryReport:
    """Summarise the new and changed texts of the lake's items that are longer than a summary.

    An endpoint that does not reply never fails the run: its items get an extractive summary and
    are sent again in the next run. A reply with statements that the text does not support is
    replaced by an extractive summary, with the reason.

    Args:
        item_lake: Lake of the dataset.
        spec: Source of the texts and length of the summaries.
        encode_sentences: Vectors of sentences; by default TF-IDF within each text.
        encoder: Identity of that encoder.
        endpoint: Endpoint that writes the summaries; by default that of ``spec``.

    Raises:
        ConfigError: The key of the endpoint is not set.
        StoreError: The lake cannot be read or written.
    """
    if not item_lake.exists("items"):
        return SummaryReport(skipped="the lake has no items")
    if endpoint is None and spec.endpoint is not None:
        chat_endpoint = ChatEndpoint(spec.endpoint, spec.max_chars)
        chat_endpoint.require_key()
        endpoint = chat_endpoint
    summariser = _Summariser(spec, encode_sentences, encoder, endpoint)
    known_rows = _known_rows(item_lake)
    item_counts: Counter[str] = Counter()
    pending_rows: list[_SummaryRow] = []
    for item_id, item_text, text_digest in _texts(item_lake, spec):
        item_outcome, new_rows = summariser.new_rows(
            item_id, item_text, text_digest, known_rows.get(item_id)
        )
        item_counts.update(["items", item_outcome])
        pending_rows += new_rows
        if len(pending_rows) >= _COMMIT_ROWS:
            _write(item_lake, pending_rows)
            pending_rows = []
    if pending_rows:
        _write(item_lake, pending_rows)
    return SummaryReport(
        writer=summariser.writer,
        n_items=item_counts["items"],
        n_summarised=item_counts["summarised"],
        n_unchanged=item_counts["unchanged"],
        n_short=item_counts["short"],
        n_generated=summariser.n_generated,
        reasons=dict(summariser.reasons.most_common()),
    )


def _texts(item_lake: Lake, spec: SummarySpec) -> Iterator[tuple[str, str | None, str]]:
    """Id, text and digest of each item."""
    text_reader = TextReader(TextContent(columns=spec.columns, max_chars=spec.max_text_chars))
    for item_rows in item_batches(item_lake, text_reader.columns):
        for item_row in item_rows:
            item_input = text_reader.read(item_row)
            item_text = item_input.raw
            yield (
                str(item_row[c.ITEM_ID]),
                item_text if isinstance(item_text, str) else None,
                (item_input.digest),
            )


def _known_rows(item_lake: Lake) -> dict[str, tuple[str, str]]:
    """Digest of the text and writer of each stored summary."""
    if not item_lake.exists("item_summaries"):
        return {}
    table_columns = [c.ITEM_ID, t.INPUT_DIGEST, t.WRITER]
    stored_rows: list[dict[str, Any]] = item_lake.read(
        "item_summaries", columns=table_columns
    ).to_pylist()
    return {
        stored_row[c.ITEM_ID]: (stored_row[t.INPUT_DIGEST], stored_row[t.WRITER])
        for stored_row in stored_rows
    }


def _write(item_lake: Lake, rows: list[_SummaryRow]) -> None:
    table_columns = dict(zip(_SummaryRow._fields, map(list, zip(*rows, strict=True)), strict=True))
    item_lake.upsert_keyed(
        "item_summaries",
        pa.table(
            {
                name: pa.array(column_values, t.ITEM_SUMMARIES.field(name).type)
                for name, column_values in table_columns.items()
            }
        ),
    )
