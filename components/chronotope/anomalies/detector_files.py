"""Files of a fitted detector: a folder that is registered, downloaded and served without torch."""

import json
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
    """

    detector: FittedDetector
    typical_value: float
    label_delay_days: int
    threshold: AlertThreshold
    trained_until_s: int
    facts: dict[str, str] = field(default_factory=dict)


def save_detector(bundle: DetectorBundle, folder: Path) -> Path:
    """Write a detector's graphs, and its manifest last; returns the folder.

    Args:
        bundle: The detector.
        folder: Folder to write; it is created.
    """
    folder.mkdir(parents=True, exist_ok=True)
    members = _members(bundle.detector)
    for member in members:
        with replacing(folder / f"{member.name}.onnx") as draft:
            draft.write_bytes(member.graph)
    manifest = {
        "format": FORMAT,
        "name": bundle.detector.name,
        "members": [_member_manifest(member) for member in members],
        "typical_value": bundle.typical_value,
        "label_delay_days": bundle.label_delay_days,
        "threshold": bundle.threshold.to_json(),
        "trained_until_s": bundle.trained_until_s,
        "facts": bundle.facts,
    }
    with replacing(folder / MANIFEST_FILE) as draft:
        draft.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    return folder


def load_detector(folder: Path) -> DetectorBundle:
    """Read a detector.

    Args:
        folder: Folder that ``save_detector`` wrote.

    Raises:
        ArtifactError: A file is missing or damaged.
    """
    try:
        manifest = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
        members = tuple(_read_member(folder, entry) for entry in manifest["members"])
        is_single = len(members) == 1 and members[0].name == manifest["name"]
        return DetectorBundle(
            members[0] if is_single else EnsembleDetector(members, manifest["name"]),
            float(manifest["typical_value"]),
            int(manifest["label_delay_days"]),
            AlertThreshold.from_json(manifest["threshold"]),
            int(manifest["trained_until_s"]),
            {str(key): str(value) for key, value in manifest["facts"].items()},
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            "The anomaly detector cannot be read",
            received=f"{folder}: {error}",
            way_out="Train it again with `chronotope anomalies train`",
        ) from error


def _members(detector: FittedDetector) -> Sequence[GraphDetector]:
    if isinstance(detector, EnsembleDetector):
        return detector.members
    if isinstance(detector, GraphDetector):
        return (detector,)
    raise ArtifactError("The detector has no graph to store", received=type(detector).__name__)


def _member_manifest(member: GraphDetector) -> dict[str, object]:
    return {
        "name": member.name,
        "feature_names": list(member.feature_names),
        "typical_values": member.typical_values.tolist(),
        "quantiles": member.tail.quantiles.tolist(),
        "mean_excess": member.tail.mean_excess,
    }


def _read_member(folder: Path, entry: dict[str, Any]) -> GraphDetector:
    return GraphDetector(
        str(entry["name"]),
        tuple(entry["feature_names"]),
        np.array(entry["typical_values"], dtype=np.float32),
        ScoreTail(np.array(entry["quantiles"]), float(entry["mean_excess"])),
        (folder / f"{entry['name']}.onnx").read_bytes(),
    )
