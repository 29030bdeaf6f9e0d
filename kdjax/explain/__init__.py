"""`launch.py quantify`: what did the distilled student learn to look at?

  run.py       the hallway: data -> teacher -> student and baseline -> figures
  parts.py     from settings to checked parts
  training.py  every epoch of teacher, student and baseline, as a stream
  keeper.py    trainings on disk, so that a stopped run goes on where it was
  entropies.py entropies of a checkpoint, over devices, kept on disk
  figures.py   from entropies to the figures of results.json

The maths is in kdjax.quantify.
"""
