"""How the reference model was trained: data in, ONNX file out. See docs/bench/training.md."""
