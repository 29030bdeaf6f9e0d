"""A small student learns from a large teacher that has seen shifted digits.

  python launch.py

"""

from kdjax.config import Experiment

EXPERIMENT = Experiment()
