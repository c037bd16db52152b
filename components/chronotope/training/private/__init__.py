"""Training under user-level differential privacy: noisy counts beside public parameters."""
