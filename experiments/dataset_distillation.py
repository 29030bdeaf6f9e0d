"""Thirty learned images teach a network what thirty real ones do not.

  python launch.py synthesise            (105 s of CPU time, two cores or one)

Three images of each digit and a learning rate for each of 20 steps, learned by
differentiating through the training of freshly started networks. 5 sets of
images, each the mean of 5 unseen networks, mlp(64), 1,000 test images:

  learns from          images  steps  test accuracy    learned images are better by
  learned images           30     20  86.9 ± 0.5 %
  random real images       30    200  62.6 ± 2.0       24.4 points, 5 of 5, p = 7e-6
  class centroids          30    200  85.1 ± 0.5       1.8 points, 5 of 5, p = 6e-4
  all real images       4,000    620  93.6 ± 0.6

Most of what 30 random images lack, centroids of k-means have as well, for no
training at all: that is the control to beat. Rate and steps for all real images
are the best of a grid on held-out ones; the rates of images and learning rates
come from a few tries on held-out images. Wang et al. 2018, arXiv:1811.10959.
"""

from kdjax.runner.config import Experiment, Student

EXPERIMENT = Experiment(
  student=Student(model="mlp(64)", epochs=10, batch_size=64, seeds=5),
)
