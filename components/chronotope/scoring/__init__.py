"""Batch predictions: the next items, time and places of all users, as a table.

The answers come from the code of the service (``serving.model``, ``inference``), in batches of
users. ``score_users`` runs it all; ``config`` holds its settings.
"""
