"""Smaller models, measured: pruning, int8, distillation, one ONNX graph."""
