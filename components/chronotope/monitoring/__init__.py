"""Drift monitoring of data, predictions and outcomes.

Only settings are exported here, since the other modules load SciPy, MLflow or torch. Import
``monitor`` from ``monitoring.monitor`` and ``publish_report`` from ``monitoring.publish``.
"""

from chronotope.monitoring.config import MonitorConfig

__all__ = ["MonitorConfig"]
