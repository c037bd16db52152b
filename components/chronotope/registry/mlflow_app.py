"""The MLflow UI as ``chronotope up`` runs it: behind a guard that answers no other website.

MLflow's own checks let pages of every port of this machine read and write, and take names such as
``10.evil.example`` for addresses of a private network.
"""

import os
from typing import cast

from chronotope.contracts.same_origin import AsgiApp, SameOriginGuard


def create_app() -> SameOriginGuard:
    """MLflow's application over the store that ``MLFLOW_BACKEND_STORE_URI`` names, guarded."""
    from mlflow.server.constants import BACKEND_STORE_URI_ENV_VAR

    # as `mlflow server` does it; a command line would show a password of the address
    os.environ[BACKEND_STORE_URI_ENV_VAR] = os.environ["MLFLOW_BACKEND_STORE_URI"]
    from mlflow.server.fastapi_app import app

    return SameOriginGuard(cast("AsgiApp", app))
