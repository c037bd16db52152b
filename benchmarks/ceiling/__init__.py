"""Boosted trees over candidates and their features: what a ranker can reach on purchases."""
