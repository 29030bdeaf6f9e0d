"""`launch.py soft_td`: several sources, soft labels, students in rounds, controls."""

from kdjax.runner.config.commands import SoftTDConfig
from kdjax.runner.job import Job, LazyModule, Stage

build, stages, measure = (
  LazyModule(f"{__package__}.{name}") for name in ("build", "stages", "measure")
)
record = LazyModule("kdjax.runner.report.record")

JOB = Job(
  name="soft_td",
  config=SoftTDConfig,
  example="soft_td",
  build=build.build,
  stages=(
    Stage("sources", stages.train_sources),
    Stage("rounds", stages.train_rounds),
    Stage("controls", stages.train_controls),
  ),
  measure=measure.measure,
  page=record.write_run,
  summary=record.summary,
)
