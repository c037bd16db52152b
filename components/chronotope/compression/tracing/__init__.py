"""Tracing of modules as ONNX graphs without their weights."""
