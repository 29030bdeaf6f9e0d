"""What a language model says of texts, for results.json and the terminal."""

from collections.abc import Mapping
from typing import Any

from kdjax import evaluate
from kdjax.core.errors import quantity
from kdjax.runner.job import Context, Measured
from kdjax.runner.jobs.evaluate.build import Setup
from kdjax.runner.pipeline.texts import NAMED
from kdjax.runner.report.progress import compiling, progress
from kdjax.train.teacher import live_teacher


def measure(setup: Setup, context: Context) -> Measured:
  """Measures the network on all sequences."""
  network, teacher, examples = setup.network, setup.teacher, setup.examples
  count = len(setup.sequences["tokens"])
  settings = setup.experiment.evaluation
  title = f"measuring {quantity(count, 'sequence')}"
  compiling(title)
  batches = -(-count // settings.sequences_at_once)
  with progress(batches, title, unit="step") as advance:
    scores = evaluate.measure_text(
      network.network,
      network.variables,
      setup.sequences,
      task=setup.task,
      text_bytes=examples.bytes,
      teacher=teacher and live_teacher(teacher.network, teacher.variables),
      top=settings.top,
      batch_size=settings.sequences_at_once,
      advance=advance,
    )
  about = {
    "task": setup.task.name,
    "network": _about(setup.experiment.export.source, network),
    "text": {
      "rows": examples.rows,
      "all_tokens": examples.tokens,
      "truncated": examples.truncated[:NAMED],
      "unanswered": examples.unanswered[:NAMED],
    },
  }
  if teacher is not None:
    about["teacher"] = _about(setup.experiment.teacher.teacher_from, teacher)
  return Measured(scores | about)


def summary(results: Mapping[str, Any]) -> str:
  """Says what was measured, a line each."""
  lines = [
    f"{results['tokens']:,} tokens, {results['bytes']:,} bytes",
    f"nats per token  {results['nats_per_token']:.6f}",
    f"bits per byte   {results['bits_per_byte']:.6f}",
  ]
  if "teacher" in results:
    lines += [
      f"KL from the teacher  {results['teacher_kl']:.6f} nats a token",
      f"agreement            {100 * results['agreement']:.2f} %",
    ]
  lines += [
    f"mass of the likeliest {name.split('_')[1]}  {results[name]:.4f}"
    for name in results
    if name.startswith("top_")
  ]
  return "\n".join(lines)


def _about(where: str, network: Any) -> dict[str, Any]:
  return {
    "model": where,
    "parameters": evaluate.parameters(network.variables["params"]),
  }
