"""MLflow UI of ``chronotope up``, behind the same-origin middleware.

MLflow's own checks let pages of every port of this machine read and write, and take names such as
``10.evil.example`` for addresses of a private network.
"""

import os
from typing import cast

from chronotope.runtime.same_origin import AsgiApp, SameOriginGuard


def create_app() -> SameOriginGuard:
    """MLflow's application behind the same-origin middleware.

    Its store is what ``MLFLOW_BACKEND_STORE_URI`` and ``MLFLOW_DEFAULT_ARTIFACT_ROOT`` name.
    """
    from mlflow.server.constants import ARTIFACT_ROOT_ENV_VAR, BACKEND_STORE_URI_ENV_VAR

    # as `mlflow server` does it; a command line would show a password of the address
    os.environ[BACKEND_STORE_URI_ENV_VAR] = os.environ["MLFLOW_BACKEND_STORE_URI"]
    os.environ[ARTIFACT_ROOT_ENV_VAR] = os.environ["MLFLOW_DEFAULT_ARTIFACT_ROOT"]
    from mlflow.server.fastapi_app import app

    return SameOriginGuard(cast("AsgiApp", app))
