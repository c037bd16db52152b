"""Past events by instant, and the hours of the day and week at which a user is active."""
