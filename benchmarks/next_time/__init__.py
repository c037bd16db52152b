"""The time of the next event: the time head, the served model, and the field's peers."""
