"""Sessions of ONNX Runtime for encoders."""

import os
from typing import Any

import onnxruntime

from chronotope.contracts.errors import ArtifactError


def open_encoder_session(
    model: bytes | str, *, n_threads: int | None = None
) -> onnxruntime.InferenceSession:
    """Session of an ONNX model on the processor.

    Args:
        model: The serialised model, or the path of its file.
        n_threads: Number of threads; by default ``OMP_NUM_THREADS``, else one for each core.

    Raises:
        ArtifactError: It is not a model that ONNX Runtime can run.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads or _default_threads()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own classes share no base but Exception
        raise ArtifactError(
            "The encoder cannot be run by ONNX Runtime",
            received=str(error).partition("\n")[0],
            way_out="Name an ONNX model of a text encoder, such as one exported by optimum",
        ) from error


def input_names(session: onnxruntime.InferenceSession) -> list[str]:
    """Names of a session's inputs."""
    model_inputs: list[Any] = session.get_inputs()
    return [model_input.name for model_input in model_inputs]


def _default_threads() -> int:
    setting = os.environ.get("OMP_NUM_THREADS", "")
    return int(setting) if setting.isdigit() and int(setting) > 0 else os.cpu_count() or 1
