"""Comparison of Chronotope with other libraries, each in an environment of its own."""
