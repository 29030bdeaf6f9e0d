"""`launch.py evaluate`: nats a token and bits a byte of a language model."""

from kdjax.runner.config.commands import EvaluateConfig
from kdjax.runner.job import Job, LazyModule

build, measure = (
  LazyModule(f"{__package__}.{name}") for name in ("build", "measure")
)

JOB = Job(
  name="evaluate",
  config=EvaluateConfig,
  example="mnist_demo",
  build=build.build,
  stages=(),
  measure=measure.measure,
  page=None,
  summary=measure.summary,
  folder="evaluation",
)
