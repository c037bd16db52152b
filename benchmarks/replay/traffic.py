"""A dataset cut in time: the base for training, and rounds of later events."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from chronotope.contracts import columns as c
from chronotope.contracts.event_log import Int64
from chronotope.contracts.schemas import EVENTS, ITEMS
from chronotope.datasets.normalise import normalise
from chronotope.datasets.readers import read_events, read_items
from chronotope.datasets.spec import DatasetSpec

BASE, CATALOGUE, SPEC = "base.parquet", "items.parquet", "dataset.yaml"
_TOLD: Final = [name for name in EVENTS.names if name != c.EVENT_ID]
_KEPT: Final = ("description", "licence", "event_type", "items_are_places", "cell_resolution")


@dataclass(frozen=True)
class Traffic:
    """All events of a dataset, in time order.

    Attributes:
        spec: The dataset.
        rows: Columns of ``EVENTS``.
        cuts_s: End of the base and of each round, UTC seconds, increasing.
    """

    spec: DatasetSpec
    rows: pa.Table
    cuts_s: tuple[int, ...]

    @classmethod
    def of(cls, spec: DatasetSpec, *, base_share: float, n_rounds: int) -> Self:
        """Read a dataset; rounds have equally many events, and no instant is cut in two.

        Args:
            spec: The dataset.
            base_share: Share of the events before the first round.
            n_rounds: Number of rounds.
        """
        batches = [normalise(spec, raw).rows.select(EVENTS.names) for raw in read_events(spec)]
        rows = pa.concat_tables(batches).sort_by(c.OCCURRED_AT)
        seconds = _seconds(rows)
        at = np.linspace(base_share, 1.0, n_rounds + 1)[:-1] * len(rows)
        cuts = [*seconds[at.astype(np.int64)].tolist(), int(seconds[-1]) + 1]
        return cls(spec, rows, tuple(cuts))

    @property
    def base(self) -> pa.Table:
        """Events before the first round."""
        return self.rows.filter(pa.array(_seconds(self.rows) < self.cuts_s[0]))

    def round(self, number: int) -> pa.Table:
        """Events of a round, the first of which is number 1."""
        seconds = _seconds(self.rows)
        start, end = self.cuts_s[number - 1 : number + 1]
        return self.rows.filter(pa.array((seconds >= start) & (seconds < end)))

    def write_base(self, root: Path) -> Path:
        """Write the base as a dataset of its own; returns its YAML."""
        root.mkdir(parents=True, exist_ok=True)
        pq.write_table(self.base.select(_TOLD), root / BASE)
        told: dict[str, Any] = {
            **self.spec.model_dump(include=set(_KEPT), exclude_none=True),
            "name": self.spec.name,
            "data_dir": str(root.resolve()),
            "identity": list(self.spec.identity),
            "events": _table(BASE, _TOLD),
        }
        items = read_items(self.spec)
        if len(items):
            pq.write_table(items.select(ITEMS.names), root / CATALOGUE)
            told["items"] = _table(CATALOGUE, ITEMS.names)
        path = root / SPEC
        path.write_text(yaml.safe_dump(told, allow_unicode=True), encoding="utf-8")
        return path


def posts(rows: pa.Table) -> Iterator[dict[str, Any]]:
    """Events as bodies of ``POST /events``; an event's id is its key."""
    for row in rows.to_pylist():
        told = {name: value for name, value in row.items() if value is not None}
        key, moment = told.pop(c.EVENT_ID), told[c.OCCURRED_AT].isoformat()
        yield {"kind": "event", "key": key, **told, c.OCCURRED_AT: moment}


def _seconds(rows: pa.Table) -> Int64:
    instants = pc.cast(rows.column(c.OCCURRED_AT), pa.int64()).to_numpy()
    return np.asarray(instants // 1_000_000, dtype=np.int64)


def _table(path: str, names: list[str]) -> dict[str, Any]:
    return {"format": "parquet", "path": path, "columns": {name: name for name in names}}
