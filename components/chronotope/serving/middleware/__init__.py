"""ASGI middleware: authentication, rate limits, and the fast path."""
