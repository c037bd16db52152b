"""Live state of users, and caches."""
