"""`launch.py soft_td`: soft-target distillation, iterated.

  job.py       the command as its stages
  build.py     from settings to a checked setup
  targets.py   soft labels: feasible, projected, weighted, mixed
  outside.py   soft labels from a file
  rounds.py    sources -> soft labels -> student -> source, until it stops
  stages.py    sources, rounds, controls
  training.py  each at the best of equally many rates
  measure.py   the scores of results.json

The maths, and which common claims are unsound, is in docs/soft_td.md.
"""
