"""Recommender that runs a bundle's ONNX graph, with ONNX Runtime alone."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import onnxruntime

from chronotope.artifact.bundle import INDEX, MODEL, Manifest, read_manifest
from chronotope.artifact.graph_files import require_own_tables
from chronotope.artifact.history_padding import HISTORY_LENGTHS, padded_length, parse_lengths
from chronotope.contracts.errors import ArtifactError, ConfigError
from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.contracts.queries import Queries
from chronotope.contracts.user_attributes import context_columns

PROVIDERS: Final = "CHRONOTOPE_ONNX_PROVIDERS"
"""Variable with execution providers of ONNX Runtime, preferred ones first, comma-separated."""

ACTIVITY: Final = "activity"
"""Table of live counts in a graph, an input with a default; absent from a graph that reads none."""


@dataclass(frozen=True, slots=True)
class ModelOutput:
    """Outputs of the graph for a batch.

    Attributes:
        item_scores: Logits, float32, shape (B, n_items).
        when: Log-weights, means, log-scales of log hours, shape (B, 3, C).
        place_scores: Logits, shape (B, n_places).
    """

    item_scores: npt.NDArray[np.float32]
    when: npt.NDArray[np.float32]
    place_scores: npt.NDArray[np.float32]


class OnnxRecommender:
    """A frozen recommender read from a bundle.

    Attributes:
        session: Open session of the graph.
        manifest: Manifest of the bundle.
        history_lengths: Lengths to which the graph's histories are padded, ascending.
        activity: Live counts instead of those of the training; None for these.
    """

    def __init__(self, session: onnxruntime.InferenceSession, manifest: Manifest) -> None:
        """Wrap an open session; use ``load``."""
        self.session, self.manifest = session, manifest
        self.activity: npt.NDArray[np.float32] | None = None
        widths = {each.name: each.shape[-1] for each in session.get_inputs()}
        # a graph that queries an index reads no user attributes
        self._n_columns = int(widths.get("context", 0))
        self._n_item_columns = int(widths.get("context_levels", 0))
        stored_lengths = session.get_modelmeta().custom_metadata_map.get(HISTORY_LENGTHS, "")
        self.history_lengths = parse_lengths(stored_lengths) or (manifest.history_len,)

    @classmethod
    def load(cls, bundle_dir: Path, *, n_threads: int = 1) -> Self:
        """Open a bundle after verifying its digests.

        Raises:
            ArtifactError: It is damaged, or its items are ranked by an index.
        """
        bundle_manifest = read_manifest(bundle_dir)
        if INDEX in bundle_manifest.digests:
            raise ArtifactError(
                "The graph of this bundle does not score items by itself",
                received=bundle_dir,
                way_out="Open it with open_bundle, which reads its index as well",
            )
        return cls(open_session(bundle_dir, n_threads=n_threads), bundle_manifest)

    @property
    def name(self) -> str:
        """Name shown in tables."""
        return self.manifest.name

    @property
    def history_len(self) -> int | None:
        """Number of past events the graph reads."""
        return self.manifest.history_len

    @property
    def reads_activity(self) -> bool:
        """Whether the graph ranks by live counts of all users."""
        replaceable = self.session.get_overridable_initializers()
        return ACTIVITY in {table.name for table in replaceable}

    def with_activity(self, activity: npt.NDArray[np.float32]) -> Self:
        """The same model, over the same session, with other live counts.

        Args:
            activity: Result of ``ActivityCounter.at``, shape (n_counts, n_items).
        """
        model = type(self)(self.session, self.manifest)
        model.activity = activity
        return model

    def fit(self, log: EventLog, catalog: Catalog) -> Self:  # noqa: ARG002
        """No operation: a bundle is already trained."""
        return self

    def observe(self, log: EventLog) -> None:
        """No operation: the graph's priors are frozen, the live state is in the query."""

    def scores(self, queries: Queries) -> npt.NDArray[np.floating]:
        """Logits of all items, shape (B, n_items)."""
        return self.answer(queries).item_scores

    def answer(self, queries: Queries) -> ModelOutput:
        """Outputs of one run of the graph."""
        return ModelOutput(*self.session.run(None, self.feed(queries)))

    def prepared(self, queries: Queries) -> Callable[[], object]:
        """Inference on prepared inputs, to be timed."""
        return partial(self.session.run, None, self.feed(queries))

    def feed(self, queries: Queries) -> dict[str, npt.NDArray[np.generic]]:
        """Inputs of the graph, histories padded to the length that the longest one needs."""
        padded_len = padded_length(queries, self.history_lengths)
        n_events = min(self.manifest.history_len, padded_len)
        graph_inputs: dict[str, npt.NDArray[np.generic]] = {
            "item_idx": _right_aligned(queries.item_idx, n_events, padded_len),
            "occurred_s": _right_aligned(queries.occurred_s, n_events, padded_len),
            "utc_offset_min": _right_aligned(queries.utc_offset_min, n_events, padded_len),
            "place_idx": _right_aligned(queries.place_idx, n_events, padded_len),
            "request_s": queries.request_s.astype(np.int64),
            "request_offset_min": queries.request_offset_min.astype(np.int64),
            "request_place_idx": queries.request_place_idx.astype(np.int64),
            "time_given": queries.time_given.astype(np.float32),
        }
        if self._n_columns:
            column_names = (*self.manifest.context, *context_columns(self.manifest.attributes))
            column_names = column_names[: self._n_columns]
            graph_inputs["context"] = _context_matrix(queries, column_names)
        if self._n_item_columns:
            graph_inputs |= _item_context(queries, self._n_item_columns)
        if self.activity is not None:
            graph_inputs[ACTIVITY] = self.activity
        return graph_inputs


def execution_providers() -> list[str]:
    """Execution providers of ONNX Runtime that the environment names; by default the CPU's.

    Raises:
        ConfigError: The installed ONNX Runtime lacks one of them.
    """
    named_providers = os.environ.get(PROVIDERS) or "CPUExecutionProvider"
    provider_names = [name.strip() for name in named_providers.split(",")]
    available_names = onnxruntime.get_available_providers()
    unknown_names = [name for name in provider_names if name not in available_names]
    if unknown_names:
        raise ConfigError(
            "The installed ONNX Runtime lacks an execution provider",
            received=f"{PROVIDERS}={','.join(unknown_names)}",
            way_out=f"Choose from {', '.join(available_names)}, or install a build of ONNX "
            "Runtime with it, such as onnxruntime-gpu",
        )
    return provider_names


def open_session(bundle_dir: Path, *, n_threads: int) -> onnxruntime.InferenceSession:
    """ONNX Runtime session of a bundle's graph, with the execution providers of the environment.

    Raises:
        ArtifactError: This version of ONNX Runtime cannot run it.
        ConfigError: The environment names an execution provider that is not installed.
    """
    graph_path = bundle_dir / MODEL
    require_own_tables(graph_path)
    return session_of(str(graph_path), str(graph_path), n_threads=n_threads)


def session_of(
    graph: str | bytes, graph_name: str, *, n_threads: int
) -> onnxruntime.InferenceSession:
    """ONNX Runtime session of a graph, with the execution providers of the environment.

    Args:
        graph: Path of the graph's file, or its serialised content.
        graph_name: How an error names it.
        n_threads: Threads of an inference.

    Raises:
        ArtifactError: This version of ONNX Runtime cannot run it.
        ConfigError: The environment names an execution provider that is not installed.
    """
    providers = execution_providers()
    session_options = onnxruntime.SessionOptions()
    session_options.intra_op_num_threads = n_threads
    session_options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(graph, session_options, providers=providers)
    except Exception as error:  # ONNX Runtime's exceptions have no common base class
        raise ArtifactError(
            "ONNX Runtime cannot run a model's file",
            received=f"{graph_name}: {error}",
            way_out="Return to the champion before with `chronotope rollback`, or train again; "
            "`chronotope doctor` checks the version of onnxruntime",
        ) from error


def _right_aligned(
    column: npt.NDArray[np.generic], n_events: int, padded_len: int
) -> npt.NDArray[np.int64]:
    """The latest ``n_events`` events, zeros before them, shape (B, padded_len)."""
    latest_events = column[:, -n_events:]
    padded_column = np.zeros((len(latest_events), padded_len), np.int64)
    padded_column[:, padded_len - latest_events.shape[1] :] = latest_events
    return padded_column


def _item_context(queries: Queries, n_columns: int) -> dict[str, npt.NDArray[np.generic]]:
    """Items and levels of the item context; one row of padding where nothing is known."""
    items, levels = queries.context_item_idx, queries.context_levels
    if items is None or levels is None or not items.shape[1]:
        items = np.zeros((len(queries), 1), np.int32)
        levels = np.zeros((len(queries), 1, n_columns), np.int32)
    return {
        "context_item_idx": items.astype(np.int64),
        "context_levels": levels.astype(np.int64),
    }


def _context_matrix(queries: Queries, column_names: tuple[str, ...]) -> npt.NDArray[np.float32]:
    """Context columns, NaN where a column is missing, shape (B, n_columns)."""
    missing_column = np.full(len(queries), np.nan, dtype=np.float32)
    columns = [queries.context.get(name, missing_column) for name in column_names]
    return np.stack(columns, axis=1).astype(np.float32)
