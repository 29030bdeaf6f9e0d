"""One honest table of many methods on one pair of networks.

One teacher. Every arm, the controls among them, tries as many settings as every
other on images held out from teacher and students; then its best setting is
trained again with fresh seeds, the same for all arms, and scored on the test
images. Whatever the table says, nothing was chosen on what it shows.
"""

from kdjax.runner.config.commands import CompareConfig
from kdjax.runner.job import Job, LazyModule, Stage

build, training, measure = (
  LazyModule(f"{__package__}.{name}")
  for name in ("build", "training", "measure")
)
record = LazyModule("kdjax.runner.report.record")

JOB = Job(
  name="compare",
  config=CompareConfig,
  example="mnist_demo",
  build=build.build,
  stages=(
    Stage("teacher", training.train_teacher),
    Stage("students", training.train_students),
  ),
  measure=measure.measure,
  page=record.write_run,
  summary=record.summary,
  words="METHOD ...|all",
)
