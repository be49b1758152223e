"""The ONNX back end: files for ONNX Runtime."""
