"""A Ray cluster of two raylets with one processor each, on this machine."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

_NODE: Final[dict[str, Any]] = {
    "num_cpus": 1,
    "object_store_memory": 100 * 2**20,
    "node_ip_address": "127.0.0.1",
    "include_dashboard": False,
}
_ENVIRONMENT: Final = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # ports on 127.0.0.1 alone
    "RAY_enable_metrics_collection": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "AUTOSCALER_METRIC_PORT": "0",
}


@contextmanager
def two_raylets() -> Iterator[str]:
    """Context manager of the cluster; yields its address."""
    os.environ.update(_ENVIRONMENT)
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args=_NODE)
    try:
        cluster.add_node(**_NODE)
        yield str(cluster.address)
    finally:
        cluster.shutdown()  # type: ignore[no-untyped-call]
