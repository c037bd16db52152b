"""Feedback loop: intake of new interactions, rate guard, and the decision to retrain."""
