"""Which events are predicted from which: splits that respect time."""
