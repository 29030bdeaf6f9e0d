"""`launch.py cache`: a teacher's outputs for every view of every training image."""

from kdjax.runner.config.commands import CacheConfig
from kdjax.runner.job import Job, LazyModule, Stage

build, write, measure = (
  LazyModule(f"{__package__}.{name}") for name in ("build", "write", "measure")
)

JOB = Job(
  name="cache",
  config=CacheConfig,
  example="mnist_demo",
  build=build.build,
  stages=(
    Stage("teacher", write.train_teacher),
    Stage("cache", write.write_cache),
  ),
  measure=measure.measure,
  page=None,
  summary=measure.summary,
  folder="{name}-cache",
)
