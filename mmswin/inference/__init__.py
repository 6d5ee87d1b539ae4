"""Prediction with a trained model, on anything that shows pictures; and what in a picture a prediction rests on."""

from mmswin.inference.predictor import Predictor, load
from mmswin.inference.results import Instances, Mask, Result, Scores

__all__ = ['Instances', 'Mask', 'Predictor', 'Result', 'Scores', 'load']
