"""Command of federated training."""
