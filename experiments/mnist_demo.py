"""A small student learns from a large teacher that has seen shifted digits."""

from kdjax.config import Experiment

EXPERIMENT = Experiment()
