"""MLflow UI of ``chronotope up``, behind the same-origin middleware.

MLflow's own checks allow pages from any port of this machine to read and write, and accept host
names such as ``10.evil.example`` as addresses of a private network.
"""

import os
from typing import cast

from chronotope.runtime.same_origin import AsgiApp, SameOriginGuard


def create_app() -> SameOriginGuard:
    """MLflow's application behind the same-origin middleware.

    The variables ``MLFLOW_BACKEND_STORE_URI`` and ``MLFLOW_DEFAULT_ARTIFACT_ROOT`` set its store.
    """
    from mlflow.server.constants import ARTIFACT_ROOT_ENV_VAR, BACKEND_STORE_URI_ENV_VAR

    # Set as `mlflow server` does; its command-line options would expose a password.
    os.environ[BACKEND_STORE_URI_ENV_VAR] = os.environ["MLFLOW_BACKEND_STORE_URI"]
    os.environ[ARTIFACT_ROOT_ENV_VAR] = os.environ["MLFLOW_DEFAULT_ARTIFACT_ROOT"]
    from mlflow.server.fastapi_app import app

    return SameOriginGuard(cast("AsgiApp", app))
