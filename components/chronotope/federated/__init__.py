"""Federated learning: clients keep their lakes and send sums of counts and of updates."""
