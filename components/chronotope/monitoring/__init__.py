"""Drift monitoring: data, predictions of the champion, and outcomes of recommendations."""

# Only settings are exported here, since the other modules load SciPy, MLflow or torch. Import
# ``monitor`` from ``monitoring.monitor`` and ``publish_report`` from ``monitoring.publish``.
from chronotope.monitoring.config import MonitorConfig

__all__ = ["MonitorConfig"]
