"""What a model costs: MACs, operators, and estimates of latency and memory on devices that are not here."""

from edgekd.latency.predictions import Predictions, predict_file
from edgekd.latency.predictor import Prediction, predict

__all__ = ["Prediction", "Predictions", "predict", "predict_file"]
