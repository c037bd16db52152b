"""Online experiments: designs, arms, exposures, uplift and off-policy reports."""
