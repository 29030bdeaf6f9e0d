"""`launch.py compress`: students plain, pruned and in few bits, in one table."""

from kdjax.runner.config.commands import CompressConfig
from kdjax.runner.job import Job, LazyModule, Stage

training, measure = (
  LazyModule(f"{__package__}.{name}") for name in ("training", "measure")
)
page = LazyModule("kdjax.runner.report.compression_page")

JOB = Job(
  name="compress",
  config=CompressConfig,
  example="compression_table",
  build=training.build,
  stages=(
    Stage("teacher", training.train_teachers),
    Stage("training", training.train_students),
  ),
  measure=measure.measure,
  page=page.write,
  summary=page.summary,
)
