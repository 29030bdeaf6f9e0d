"""`launch.py quantify`: what did the distilled student learn to look at?

  run.py       the hallway: data -> teacher -> student and baseline -> figures
  parts.py     from settings to checked parts
  training.py  every epoch of teacher, student and baseline, as a stream
  entropies.py entropies of a checkpoint, over devices, kept on disk
  figures.py   from entropies to the figures of results.json

The maths is in kdjax.quantify.
"""
