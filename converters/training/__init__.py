"""How the reference model was trained: data in, ONNX file out. See README.md of this folder."""
