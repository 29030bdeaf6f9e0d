"""`launch.py synthesise`: a few learned images that stand for a data set.

  job.py       the command as its stages
  build.py     from settings to a checked setup
  unroll.py    learning from synthetic images, differentiably
  training.py  images, learning rates and labels, step by step
  evaluate.py  networks that learn from a course of images; the search for rates
  networks.py  networks trained on learned and on real images
  stages.py    the images, then the networks
  measure.py   the scores of results.json

Wang, Zhu, Torralba, Efros 2018, arXiv:1811.10959.
"""
