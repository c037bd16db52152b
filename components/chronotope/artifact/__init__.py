"""A portable bundle: one ONNX graph and what it needs, run without torch."""
