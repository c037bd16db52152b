"""Feedback loop: intake of new interactions, rate limit, and the decision to retrain."""
