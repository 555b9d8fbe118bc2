"""`app.onnx`: the model with what an app has at one end and what it wants at the other, one file for each such part."""
