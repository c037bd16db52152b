"""What a model is asked to minimise: what, when and where."""
