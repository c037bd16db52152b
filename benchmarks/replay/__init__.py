"""A log replayed as live traffic: asked, told, taken in, learned from, round by round."""
