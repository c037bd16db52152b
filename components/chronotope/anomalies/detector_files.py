"""Files of a fitted detector: a folder that is registered, downloaded and served without torch."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from chronotope.anomalies.alert_threshold import AlertThreshold
from chronotope.anomalies.detector import EnsembleDetector, FittedDetector, GraphDetector
from chronotope.anomalies.score_tail import ScoreTail
from chronotope.contracts.errors import ArtifactError
from chronotope.runtime.durable_files import replacing

MANIFEST_FILE: Final = "detector.json"
RECOMMENDER_FOLDER: Final = "recommender"
"""Bundle of the recommender whose surprise a detector reads, below its folder."""

FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class DetectorBundle:
    """A fitted detector with all that is needed to score new events.

    Attributes:
        detector: The detector.
        typical_value: Mean amount of the training log, the prior of new users.
        label_delay_days: Days until labels count in the features.
        threshold: Surprise beyond which an event is flagged.
        trained_until_s: End of its training events, UTC seconds.
        facts: Dataset, data version, metrics and such, to be shown.
        recommender_dir: Bundle of the recommender whose surprise it reads; None if it reads none.
    """

    detector: FittedDetector
    typical_value: float
    label_delay_days: int
    threshold: AlertThreshold
    trained_until_s: int
    facts: dict[str, str] = field(default_factory=dict)
    recommender_dir: Path | None = None


def save_detector(detector_bundle: DetectorBundle, detector_dir: Path) -> Path:
    """Write a detector's graphs, and its manifest last; returns the folder.

    Args:
        detector_bundle: The detector.
        detector_dir: Folder to write; it is created.
    """
    detector_dir.mkdir(parents=True, exist_ok=True)
    members = _members(detector_bundle.detector)
    for graph_member in members:
        with replacing(detector_dir / f"{graph_member.name}.onnx") as draft:
            draft.write_bytes(graph_member.graph)
    if detector_bundle.recommender_dir is not None:
        shutil.copytree(
            detector_bundle.recommender_dir, detector_dir / RECOMMENDER_FOLDER, dirs_exist_ok=True
        )
    bundle_manifest = {
        "format": FORMAT,
        "name": detector_bundle.detector.name,
        "members": [_member_manifest(graph_member) for graph_member in members],
        "typical_value": detector_bundle.typical_value,
        "label_delay_days": detector_bundle.label_delay_days,
        "threshold": detector_bundle.threshold.to_json(),
        "trained_until_s": detector_bundle.trained_until_s,
        "facts": detector_bundle.facts,
        "reads_recommender": detector_bundle.recommender_dir is not None,
    }
    with replacing(detector_dir / MANIFEST_FILE) as draft:
        draft.write_text(json.dumps(bundle_manifest, indent=1), encoding="utf-8")
    return detector_dir


def load_detector(detector_dir: Path) -> DetectorBundle:
    """Read a detector.

    Args:
        detector_dir: Folder that ``save_detector`` wrote.

    Raises:
        ArtifactError: A file is missing or damaged.
    """
    try:
        bundle_manifest = json.loads((detector_dir / MANIFEST_FILE).read_text(encoding="utf-8"))
        members = tuple(
            _read_member(detector_dir, member_entry) for member_entry in bundle_manifest["members"]
        )
        has_recommender = bool(bundle_manifest.get("reads_recommender"))
        is_single = len(members) == 1 and members[0].name == bundle_manifest["name"]
        return DetectorBundle(
            members[0] if is_single else EnsembleDetector(members, bundle_manifest["name"]),
            float(bundle_manifest["typical_value"]),
            int(bundle_manifest["label_delay_days"]),
            AlertThreshold.from_json(bundle_manifest["threshold"]),
            int(bundle_manifest["trained_until_s"]),
            {str(key): str(value) for key, value in bundle_manifest["facts"].items()},
            detector_dir / RECOMMENDER_FOLDER if has_recommender else None,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            "The anomaly detector cannot be read",
            received=f"{detector_dir}: {error}",
            way_out="Train it again with `chronotope anomalies train`",
        ) from error


def _members(detector: FittedDetector) -> Sequence[GraphDetector]:
    if isinstance(detector, EnsembleDetector):
        return detector.members
    if isinstance(detector, GraphDetector):
        return (detector,)
    raise ArtifactError("The detector has no graph to store", received=type(detector).__name__)


def _member_manifest(graph_member: GraphDetector) -> dict[str, object]:
    return {
        "name": graph_member.name,
        "feature_names": list(graph_member.feature_names),
        "typical_values": graph_member.typical_values.tolist(),
        "quantiles": graph_member.tail.quantiles.tolist(),
        "mean_excess": graph_member.tail.mean_excess,
    }


def _read_member(detector_dir: Path, member_entry: dict[str, Any]) -> GraphDetector:
    return GraphDetector(
        str(member_entry["name"]),
        tuple(member_entry["feature_names"]),
        np.array(member_entry["typical_values"], dtype=np.float32),
        ScoreTail(np.array(member_entry["quantiles"]), float(member_entry["mean_excess"])),
        (detector_dir / f"{member_entry['name']}.onnx").read_bytes(),
    )
