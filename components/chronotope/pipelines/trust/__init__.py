"""Trust in a candidate: users held out of its training, and the membership audit of it."""
