"""From settings to a network and sequences; what is wrong ends here."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from kdjax.core.errors import UserError
from kdjax.core.task import Task
from kdjax.data import text
from kdjax.models.pretrained.load import Pretrained
from kdjax.runner.job import Plan
from kdjax.runner.pipeline import language_models, texts
from kdjax.runner.report.progress import say
from kdjax.tasks import language_model
from kdjax.train.devices import placement


class Setup(NamedTuple):
  """What is measured.

  Attributes:
    experiment: the settings.
    teacher: what the network is compared with; None for nothing.
    examples: what the texts have become.
    sequences: arrays (N, T) by name, as `kdjax.data.text.pack` makes them.
  """

  experiment: Any
  network: Pretrained
  teacher: Pretrained | None
  task: Task
  examples: text.Examples
  sequences: Mapping[str, Any]


def build(experiment: Any) -> Plan:
  """Loads the network, reads the texts and checks that they fit."""
  language_models.check_named(
    "evaluate",
    "a language model and texts, --from=FOLDER and --text=FILE",
    **{"from": experiment.export.source, "text": experiment.language.text},
  )
  devices = placement.choose(experiment.run.accelerator)
  network = language_models.open_language_model(
    "from", experiment.export.source
  )
  teacher = _teacher(experiment, network)
  classes = _classes(experiment, network, teacher)
  rows = texts.read_rows(experiment.language)
  length, tokenizer = experiment.language.sequence_length, network.tokenizer
  examples = text.make_examples(rows, tokenizer, length)
  sequences = text.pack(examples.examples, length, pad=tokenizer.pad)
  language_models.check_ids(int(sequences["tokens"].max()), classes)
  say(f"text: {examples.summary()}")
  setup = Setup(
    experiment, network, teacher, language_model(classes), examples, sequences
  )
  return Plan(setup, experiment, devices, resumable=False)


def _teacher(experiment: Any, network: Pretrained) -> Pretrained | None:
  where = experiment.teacher.teacher_from
  if where is None:
    return None
  teacher = language_models.open_language_model("teacher_from", where)
  language_models.check_same_tokenizer(
    f"--teacher_from={where}",
    teacher,
    f"--from={experiment.export.source}",
    network,
  )
  return teacher


def _classes(
  experiment: Any, network: Pretrained, teacher: Pretrained | None
) -> int:
  """How many tokens all know of."""
  networks = {f"--from={experiment.export.source}": network}
  if teacher is not None:
    networks[f"--teacher_from={experiment.teacher.teacher_from}"] = teacher
  counts = [
    language_models.count_classes(
      flag, one, experiment.language.sequence_length
    )
    for flag, one in networks.items()
  ]
  classes = min(*counts, network.tokenizer.vocabulary_size)
  for k in experiment.evaluation.top:
    if k > classes:
      raise UserError(
        f"--top={k}: the vocabulary has no more than {classes} tokens"
      )
  return classes
