"""`launch.py export`: a run's network in formats that other programs run."""

from kdjax.runner.config.commands import ExportConfig
from kdjax.runner.job import Job, LazyModule, Stage

build, write = (
  LazyModule(f"{__package__}.{name}") for name in ("read_run", "write")
)

JOB = Job(
  name="export",
  config=ExportConfig,
  example="mnist_demo",
  build=build.build,
  stages=(Stage("formats", write.write_formats),),
  measure=write.measure,
  page=None,
  summary=write.summary,
  folder="export",
)
