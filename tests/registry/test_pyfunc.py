"""An MLflow model says how it is asked."""

from pathlib import Path

import numpy as np
from mlflow.models import Model

from chronotope.registry.pyfunc import write_model


def test_the_example_comes_back_as_the_arrays_that_are_asked_for(
    bundle: Path, tmp_path: Path
) -> None:
    example = {"user_idx": np.array([3, 0], np.int32), "item_idx": np.array([[1, 2]], np.int32)}
    write_model(bundle, tmp_path / "model", example)
    found = Model.load(str(tmp_path / "model")).load_input_example(str(tmp_path / "model"))
    assert found.keys() == example.keys()
    for name, array in example.items():
        assert found[name].dtype == array.dtype
        assert (found[name] == array).all()
