"""Decomposition of the scores of a network into its terms."""
