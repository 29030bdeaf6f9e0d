"""`launch.py generate`: prompts continued by a language model."""

from kdjax.runner.config.commands import GenerateConfig
from kdjax.runner.job import Job, LazyModule, Stage

build, write = (
  LazyModule(f"{__package__}.{name}") for name in ("build", "write")
)

JOB = Job(
  name="generate",
  config=GenerateConfig,
  example="mnist_demo",
  build=build.build,
  stages=(Stage("texts", write.continue_prompts),),
  measure=write.measure,
  page=None,
  summary=write.summary,
  folder="generation",
)
