"""A real Ray cluster of two nodes on this machine: two raylets, one processor each."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import pytest

SHAPE: Any = {
    "num_cpus": 1,
    "object_store_memory": 80 * 2**20,
    "node_ip_address": "127.0.0.1",
    "include_dashboard": False,
}
ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "only-this-test-knows-it-" + "0" * 24,
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "AUTOSCALER_METRIC_PORT": "0",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_failure_threshold": "4",
}


@contextmanager
def two_nodes() -> Iterator[tuple[Any, Any]]:
    """A cluster and its second node; nothing of it is left behind.

    Ray reads the variables when it is first imported, and keeps the token.
    """
    if find_spec("ray") is None:
        pytest.skip("needs Ray: the extra `scale`")
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args=SHAPE)
    try:
        yield cluster, cluster.add_node(**SHAPE)
    finally:
        cluster.shutdown()
