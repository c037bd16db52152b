"""Answer queries from a bundle with ONNX Runtime alone."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import onnxruntime

from chronotope.artifact.bundle import INDEX, MODEL, Manifest, read_manifest
from chronotope.contracts.errors import ArtifactError
from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.contracts.queries import Queries


@dataclass(frozen=True, slots=True)
class ModelOutput:
    """What, when and where.

    Attributes:
        item_scores: Logits, float32, shape (B, n_items).
        when: Log-weights, means, log-scales of log hours, shape (B, 3, C).
        place_scores: Logits, shape (B, n_places).
    """

    item_scores: npt.NDArray[np.float32]
    when: npt.NDArray[np.float32]
    place_scores: npt.NDArray[np.float32]


class OnnxRecommender:
    """A frozen recommender read from a bundle."""

    def __init__(self, session: onnxruntime.InferenceSession, manifest: Manifest) -> None:
        """Wrap an open session; use ``load``."""
        self.session, self.manifest = session, manifest

    @classmethod
    def load(cls, folder: Path, *, n_threads: int = 1) -> Self:
        """Open a bundle after verifying its digests.

        Raises:
            ArtifactError: It is damaged, or its items are found by an index.
        """
        manifest = read_manifest(folder)
        if INDEX in manifest.digests:
            raise ArtifactError(
                "The graph of this bundle does not score items by itself",
                received=folder,
                way_out="Open it with open_bundle, which reads its index as well",
            )
        return cls(open_session(folder, n_threads=n_threads), manifest)

    @property
    def name(self) -> str:
        """Name shown in tables."""
        return self.manifest.name

    @property
    def history_len(self) -> int | None:
        """Events of the past the graph reads."""
        return self.manifest.history_len

    def fit(self, log: EventLog, catalog: Catalog) -> Self:  # noqa: ARG002
        """A bundle is trained already; returns itself."""
        return self

    def observe(self, log: EventLog) -> None:
        """The graph's priors are frozen; the live state is the history in the query."""

    def scores(self, queries: Queries) -> npt.NDArray[np.floating]:
        """Logits of all items, shape (B, n_items)."""
        return self.answer(queries).item_scores

    def answer(self, queries: Queries) -> ModelOutput:
        """Run the graph once."""
        return ModelOutput(*self.session.run(None, self.feed(queries)))

    def prepared(self, queries: Queries) -> Callable[[], object]:
        """The work of one answer, to be timed: its inputs are at hand."""
        return partial(self.session.run, None, self.feed(queries))

    def feed(self, queries: Queries) -> dict[str, npt.NDArray[np.generic]]:
        """The graph's inputs, histories padded or cut to its length."""
        width = self.manifest.history_len
        plain: dict[str, npt.NDArray[np.generic]] = {
            "item_idx": _right_aligned(queries.item_idx, width),
            "occurred_s": _right_aligned(queries.occurred_s, width),
            "utc_offset_min": _right_aligned(queries.utc_offset_min, width),
            "place_idx": _right_aligned(queries.place_idx, width),
            "request_s": queries.request_s.astype(np.int64),
            "request_offset_min": queries.request_offset_min.astype(np.int64),
            "request_place_idx": queries.request_place_idx.astype(np.int64),
            "time_given": queries.time_given.astype(np.float32),
        }
        columns = self.manifest.context
        return plain | ({"context": _side_by_side(queries, columns)} if columns else {})


def open_session(folder: Path, *, n_threads: int) -> onnxruntime.InferenceSession:
    """The graph of a bundle, on the CPU.

    Raises:
        ArtifactError: This version of ONNX Runtime cannot run it.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            str(folder / MODEL), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its exceptions have no base of their own
        raise ArtifactError(
            "ONNX Runtime cannot run a model's file",
            received=f"{folder / MODEL}: {error}",
            way_out="Return to the champion before with `chronotope rollback`, or train again; "
            "`chronotope doctor` shows whether onnxruntime lies within its bounds",
        ) from error


def _right_aligned(column: npt.NDArray[np.generic], width: int) -> npt.NDArray[np.int64]:
    """The latest ``width`` events, zeros before them, shape (B, width)."""
    cut = column[:, -width:]
    padded = np.zeros((len(cut), width), np.int64)
    padded[:, width - cut.shape[1] :] = cut
    return padded


def _side_by_side(queries: Queries, columns: tuple[str, ...]) -> npt.NDArray[np.float32]:
    """Context columns, NaN where nothing is told, shape (B, N)."""
    unknown = np.full(len(queries), np.nan, dtype=np.float32)
    told = [queries.context.get(name, unknown) for name in columns]
    return np.stack(told, axis=1).astype(np.float32)
