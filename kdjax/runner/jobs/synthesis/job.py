"""`launch.py synthesise`: learned images, then fresh networks on each kind of images."""

from kdjax.runner.config.commands import SynthesiseConfig
from kdjax.runner.job import Job, LazyModule, Stage

build, stages, measure = (
  LazyModule(f"{__package__}.{name}") for name in ("build", "stages", "measure")
)
page = LazyModule("kdjax.runner.report.synthesis_page")

JOB = Job(
  name="synthesise",
  config=SynthesiseConfig,
  example="dataset_distillation",
  build=build.build,
  stages=(
    Stage("synthesis", stages.learn_images),
    Stage("networks", stages.train_networks),
  ),
  measure=measure.measure,
  page=page.write,
  summary=page.summary,
)
