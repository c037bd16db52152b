"""Detectors behind one protocol: fitted on features, they score events and say why.

Fitted detectors are ONNX graphs and run without torch. The reasons of a score are the same for all
of them: the features whose typical value in place of the event's lowers the score most.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from chronotope.anomalies.behaviour_features import EventLabels, FeatureTable
from chronotope.anomalies.score_tail import ScoreTail
from chronotope.contracts.event_log import Float32, Float64

INPUT_NAME: Final = "features"
OUTPUT_NAME: Final = "score"
"""Input and output of the graph of a detector."""

N_REASONS: Final = 3


@dataclass(frozen=True, slots=True)
class AnomalyReason:
    """A feature that raises the score of an event.

    Attributes:
        feature: Its name.
        value: Its value at the event.
        typical_value: Median of the training events.
        contribution: By how much the score's surprise falls with the typical value instead.
    """

    feature: str
    value: float
    typical_value: float
    contribution: float


class FittedDetector(Protocol):
    """Scores events; a higher score is more anomalous."""

    @property
    def name(self) -> str:
        """Short name shown in tables."""

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Features that it reads."""

    @property
    def typical_values(self) -> Float32:
        """Median of each feature among the training events, shape (n_features,)."""

    def surprise(self, features: FeatureTable) -> Float64:
        """-log p of each event among the training events, shape (n_events,)."""


class Detector(Protocol):
    """Fits a detector."""

    @property
    def name(self) -> str:
        """Short name shown in tables."""

    def fit(self, features: FeatureTable, labels: EventLabels | None = None) -> FittedDetector:
        """Fit on the features of past events.

        Args:
            features: Features of the training events.
            labels: Their outcomes; only the supervised detector reads them.
        """


@dataclass(frozen=True)
class GraphDetector:
    """A fitted detector: one ONNX graph, and the calibration of its scores.

    Attributes:
        name: Name of the detector.
        feature_names: Columns of the graph's input.
        typical_values: Median of each feature among the training events, shape (n_features,).
        tail: Calibration on the training events.
        graph: The ONNX model.
    """

    name: str
    feature_names: tuple[str, ...]
    typical_values: Float32
    tail: ScoreTail
    graph: bytes

    @classmethod
    def calibrated(cls, name: str, graph: bytes, features: FeatureTable) -> "GraphDetector":
        """Detector of a graph, calibrated on its training events.

        Args:
            name: Name of the detector.
            graph: ONNX model from features to scores.
            features: Features of the training events.
        """
        typical_values = np.median(features.values, axis=0)
        item_scores = run_graph(open_graph(graph), features.values)
        return cls(name, features.names, typical_values, ScoreTail.of(item_scores), graph)

    @cached_property
    def session(self) -> ort.InferenceSession:
        """Session of the graph, opened once."""
        return open_graph(self.graph)

    def surprise(self, features: FeatureTable) -> Float64:
        """-log p of each event among the training events, shape (n_events,)."""
        return self.tail.surprise(run_graph(self.session, self.inputs(features)))

    def inputs(self, features: FeatureTable) -> Float32:
        """Columns of the graph's input, shape (n_events, n_features)."""
        if features.names == self.feature_names:
            return features.values
        return features.select(self.feature_names).values


@dataclass(frozen=True, slots=True)
class EnsembleDetector:
    """Sum of the surprises of several detectors, each on one scale (Fisher's method).

    Attributes:
        members: Detectors, each of its own features.
        name: Name of the ensemble.
    """

    members: tuple[GraphDetector, ...]
    name: str = "ensemble"

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Features of any member."""
        return tuple(self._typical_values())

    @property
    def typical_values(self) -> Float32:
        """Medians of the training events, shape (n_features,)."""
        return np.array(list(self._typical_values().values()), dtype=np.float32)

    def surprise(self, features: FeatureTable) -> Float64:
        """Mean surprise of the members, shape (n_events,)."""
        member_surprise: Float64 = np.mean(
            [member.surprise(features) for member in self.members], axis=0
        )
        return member_surprise

    def _typical_values(self) -> dict[str, float]:
        """Median of each feature, in the order of the members."""
        return {
            name: float(typical_value)
            for member in self.members
            for name, typical_value in zip(member.feature_names, member.typical_values, strict=True)
        }


def explain_events(
    detector: FittedDetector, features: FeatureTable, n_reasons: int = N_REASONS
) -> list[tuple[AnomalyReason, ...]]:
    """Reasons of each event, the strongest first; those that do not raise the score are left out.

    Costs one score for each event and feature: meant for the few events that are flagged.

    Args:
        detector: The detector that scored them.
        features: Features of the events.
        n_reasons: Largest number of reasons of an event.
    """
    feature_table = features.select(detector.feature_names)
    contribution_table = feature_contributions(detector, feature_table)  # (n_events, n_features)
    sort_order = np.argsort(-contribution_table, axis=1, kind="stable")[:, :n_reasons]
    return [
        tuple(
            AnomalyReason(
                feature_table.names[feature_column],
                float(feature_table.values[event_row, feature_column]),
                float(detector.typical_values[feature_column]),
                float(contribution_table[event_row, feature_column]),
            )
            for feature_column in sort_order[event_row]
            if contribution_table[event_row, feature_column] > 0
        )
        for event_row in range(len(sort_order))
    ]


def feature_contributions(detector: FittedDetector, feature_table: FeatureTable) -> Float64:
    """Fall of the surprise with each feature at its typical value, shape (n_events, n_features).

    Args:
        detector: The detector.
        feature_table: Features in the detector's order.
    """
    n_events, n_features = feature_table.values.shape
    replaced_values = np.repeat(
        feature_table.values[:, None], n_features, axis=1
    )  # (n_events, F, F)
    column_idx = np.arange(n_features)
    replaced_values[:, column_idx, column_idx] = detector.typical_values
    flat_features = FeatureTable(
        feature_table.names, replaced_values.reshape(n_events * n_features, n_features)
    )
    without_feature = detector.surprise(flat_features).reshape(n_events, n_features)
    contribution_table: Float64 = detector.surprise(feature_table)[:, None] - without_feature
    return contribution_table


def user_scores(
    user_idx: Sequence[int] | npt.NDArray[np.integer],
    surprise: Float64,
) -> Float64:
    """Largest surprise of each user, shape (n_users,); -inf for users without events.

    Args:
        user_idx: User of each event, shape (n_events,).
        surprise: Of each event, shape (n_events,).
    """
    user_positions = np.asarray(user_idx, dtype=np.int64)
    largest_surprise = np.full(int(user_positions.max(initial=-1)) + 1, -np.inf)
    np.maximum.at(largest_surprise, user_positions, surprise)
    return largest_surprise


def open_graph(graph: bytes) -> ort.InferenceSession:
    """Session on one thread: the graphs are too small to be divided."""
    session_options = ort.SessionOptions()
    session_options.intra_op_num_threads = session_options.inter_op_num_threads = 1
    session_options.log_severity_level = 3
    return ort.InferenceSession(graph, session_options, providers=["CPUExecutionProvider"])


def run_graph(session: ort.InferenceSession, values: Float32) -> Float64:
    """Scores of a graph, shape (n_events,)."""
    (item_scores,) = session.run(
        [OUTPUT_NAME], {INPUT_NAME: np.ascontiguousarray(values, np.float32)}
    )
    return np.asarray(item_scores, dtype=np.float64)
