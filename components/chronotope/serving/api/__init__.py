"""HTTP endpoints, request and response models, and the demo page."""
