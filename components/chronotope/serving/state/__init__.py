"""State of the service: event store, live user states, caches, impression log."""
