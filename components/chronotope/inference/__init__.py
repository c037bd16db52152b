"""Inference: from a user's history to ranked items with reasons.

Shared by the command line, the service and batch jobs.
"""
