"""`launch.py soft_td`: soft-target distillation, iterated.

  run.py       the hallway: sources -> rounds -> controls -> figures
  parts.py     from settings to checked parts
  targets.py   soft labels: feasible, projected, weighted, mixed
  outside.py   soft labels from a file
  objective.py divergence from the soft labels + lambda * regulariser
  rounds.py    sources -> soft labels -> student -> source, until it stops
  figures.py   the figures of results.json

The maths, and what of the folklore is unsound, is in docs/soft_td.md.
"""
