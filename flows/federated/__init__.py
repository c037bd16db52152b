"""Flow of a federated training."""
