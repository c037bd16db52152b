"""Cost of a served response, against the bare graph and other servers of the same model."""
