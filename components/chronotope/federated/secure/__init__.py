"""Secure aggregation: a server learns the sum of vectors, and none of them."""
