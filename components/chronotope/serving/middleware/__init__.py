"""ASGI middleware of the service: authentication, limits, response headers, fast path."""
