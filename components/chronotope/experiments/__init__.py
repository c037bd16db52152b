"""Online experiments: design, exposures, uplift of the arms and off-policy estimates."""
