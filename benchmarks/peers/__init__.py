"""Chronotope beside the libraries of the field, each in an environment of its own."""
