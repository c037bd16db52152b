"""MLflow pyfunc flavour of a bundle, loaded by this module without pickle."""

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, Schema, TensorSpec

from chronotope.artifact.open_bundle import BundleRecommender, open_bundle
from chronotope.contracts.queries import CONTEXT, Queries
from chronotope.registry.version_files import BUNDLE

_EXAMPLE: Final = {
    "artifact_path": "input_example.json",
    "type": "ndarray",
    "format": "tf-serving",
}
"""MLflow's metadata of an input example that is a JSON object of arrays."""

_INPUTS: Final = {
    "user_idx": (np.int32, 1),
    "item_idx": (np.int32, 2),
    "occurred_s": (np.int64, 2),
    "utc_offset_min": (np.int32, 2),
    "place_idx": (np.int32, 2),
    "request_s": (np.int64, 1),
    "request_offset_min": (np.int32, 1),
    "request_place_idx": (np.int32, 1),
    "time_given": (np.bool_, 1),
}


@dataclass(frozen=True, slots=True)
class ServedRecommender:
    """Model object that ``mlflow.pyfunc.load_model`` wraps.

    Attributes:
        model: The opened bundle.
    """

    model: BundleRecommender

    def predict(
        self,
        input_arrays: Mapping[str, npt.NDArray[Any]],
        params: Mapping[str, object] | None = None,  # noqa: ARG002 - MLflow passes it
    ) -> npt.NDArray[np.floating]:
        """Scores of all items for the named arrays of ``Queries``, shape (B, n_items)."""
        return self.model.scores(Queries.of_arrays(input_arrays))


def write_model(
    bundle_dir: Path, model_dir: Path, input_example: Mapping[str, npt.NDArray[Any]] | None = None
) -> None:
    """Write a bundle as an MLflow model with a signature.

    Args:
        bundle_dir: Folder of the bundle.
        model_dir: Target folder; must not exist.
        input_example: Named arrays of ``Queries``, stored as the model's input example. Its
            context columns become inputs of the signature.
    """
    copytree(bundle_dir, model_dir / BUNDLE)
    (model_dir / "requirements.txt").write_text("chronotope\n")
    model = Model(signature=_signature(input_example or {}))
    if input_example is not None:
        json_example = {
            array_name: array_values.tolist() for array_name, array_values in input_example.items()
        }
        (model_dir / _EXAMPLE["artifact_path"]).write_text(
            json.dumps(json_example), encoding="utf-8"
        )
        model.saved_input_example_info = dict(_EXAMPLE)
    model.add_flavor(
        "python_function",
        loader_module=__name__,
        data=BUNDLE,
        env={},
        python_version=platform.python_version(),
    )
    model.save(str(model_dir / "MLmodel"))


def _signature(input_example: Mapping[str, object]) -> ModelSignature:
    context_columns = {
        array_name: (np.float32, 1)
        for array_name in input_example
        if array_name.startswith(CONTEXT)
    }
    input_specs: list[ColSpec | TensorSpec] = [
        TensorSpec(np.dtype(array_type), (-1,) * n_dims, array_name)
        for array_name, (array_type, n_dims) in (_INPUTS | context_columns).items()
    ]
    score_spec = TensorSpec(np.dtype(np.float32), (-1, -1))
    return ModelSignature(Schema(input_specs), Schema([score_spec]))


def _load_pyfunc(model_path: str) -> ServedRecommender:
    """Entry point for MLflow, which requires this name."""
    return ServedRecommender(open_bundle(Path(model_path)))
