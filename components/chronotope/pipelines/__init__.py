"""The steps of the main job: each takes references and returns references."""
