"""`launch.py quantify`: three networks, every checkpoint of which is examined."""

from kdjax.runner.config.commands import QuantifyConfig
from kdjax.runner.job import Job, LazyModule, Stage

build, stages, measure = (
  LazyModule(f"{__package__}.{name}") for name in ("build", "stages", "measure")
)
page = LazyModule("kdjax.runner.report.knowledge_page")

JOB = Job(
  name="quantify",
  config=QuantifyConfig,
  example="spurious_background",
  build=build.build,
  stages=(
    Stage("teacher", stages.train_teacher),
    Stage("students", stages.train_students),
    Stage("labels", stages.train_on_labels),
    Stage("estimators", stages.compare_estimators),
  ),
  measure=measure.measure,
  page=page.write,
  summary=page.summary,
)
