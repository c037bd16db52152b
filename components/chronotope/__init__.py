"""Chronotope: predict what a user does next, when and where, and keep it true."""

__version__ = "0.1.0"
