"""Online experiments: arms, exposures, uplift and off-policy reports."""
