"""Closed-form model of items without events, from their content alone."""
