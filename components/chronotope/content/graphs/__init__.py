"""ONNX graphs of pretrained encoders, built from their weights without torch."""
