"""`launch.py quantify`: what did the distilled student learn to look at?

  job.py       the command as its stages
  build.py     from settings to a checked setup
  training.py  every epoch of teacher, student and baseline, as a stream
  resume.py    trainings on disk, so that a stopped run goes on where it was
  entropies.py entropies of a checkpoint, over devices, kept on disk
  stages.py    the trainings, every checkpoint examined as it comes
  metrics.py   from entropies to metrics
  measure.py   the scores of results.json

The maths is in kdjax.evaluate.knowledge.
"""
