"""An int8 ONNX file trained on the graph that ships: run in torch with gradients, taught, and written back."""
