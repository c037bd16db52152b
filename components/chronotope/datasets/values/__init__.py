"""Conversion of the cells of a source: times, numbers, ids."""
