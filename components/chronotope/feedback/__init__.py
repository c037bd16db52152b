"""Feedback loop: intake of new interactions, rate limit, and the decision to retrain."""

# Only settings are exported here, since the other modules load the lake, MLflow or torch. Import
# ``run_intake`` from ``feedback.intake`` and ``plan_retraining`` from ``feedback.retrain_plan``.
from chronotope.feedback.config import FeedbackConfig

__all__ = ["FeedbackConfig"]
