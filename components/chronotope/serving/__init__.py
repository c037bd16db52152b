"""HTTP service of a champion: recommendations in real time, event intake, experiments."""
