"""`launch.py lm`: a trained teacher -> students and their baselines -> scores."""

from kdjax.runner.config.commands import LanguageConfig
from kdjax.runner.job import Job, LazyModule, Stage

answers, build, training, measure = (
  LazyModule(f"{__package__}.{name}")
  for name in ("answers", "build", "training", "measure")
)
page = LazyModule("kdjax.runner.report.language_page")

JOB = Job(
  name="lm",
  config=LanguageConfig,
  example="lm",
  build=build.build,
  stages=(
    Stage("answers", answers.write),
    Stage("students", training.train),
  ),
  measure=measure.measure,
  page=page.write,
  summary=page.summary,
)
