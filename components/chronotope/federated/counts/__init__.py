"""Counts of all clients' users as sums over clients, and the priors that follow from them."""
