"""Federated training: settings, simulated clients, the training step, and its summary."""
