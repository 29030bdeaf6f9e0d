"""What `import kdjax` offers, and what it does not load."""

import inspect
import subprocess
import sys

import pytest

import kdjax


@pytest.mark.parametrize("name", kdjax.__all__)
def test_public_name_is_there_and_documented(name):
  value = getattr(kdjax, name)
  text = value.__doc__
  for part in ("Args:", "Returns:", "Example:"):
    if part == "Returns:" and isinstance(value, type):
      continue
    if part == "Args:" and not inspect.signature(value).parameters:
      continue
    assert part in text, f"kdjax.{name} has no {part}"


def test_public_names_are_listed_before_they_are_loaded():
  assert {*kdjax.__all__, "tasks"} <= {*dir(kdjax)}


def test_the_package_that_is_a_function_says_what_it_takes():
  names = list(inspect.signature(kdjax.evaluate).parameters)
  assert names[:3] == ["network", "variables", "batches"]


def test_an_unknown_name_is_an_attribute_error():
  assert not hasattr(kdjax, "from_linear")


def test_importing_loads_nothing_heavy():
  code = "import sys, kdjax; print({'jax', 'flax', 'optax'} & {*sys.modules})"
  done = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, check=True
  )
  assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("package", ["data", "methods", "models", "tasks"])
def test_a_plugin_registers_by_public_names(package):
  assert getattr(kdjax, package).register("of_nobody").__name__ == "enter"


# Positional arguments in their order, and keywords behind the *: other people's
# programs call them so.
CALLS = {
  "from_linen": "module * call classifier",
  "from_nnx": "module * call classifier",
  "from_apply": "apply * init",
  "make_method": "text task steps examples",
  "live_teacher": "network variables * dtype",
  "stored_teacher": "answers features",
  "served_teacher": "url * classes top_k model timeout tries connections",
  "ensemble": "teachers * pool weights together task",
  "objective": "method student task",
  "make_step": "objective optimizer placement * pieces dtype average",
  "pmap": "devices",
  "sharded": "mesh rules * batch",
  "distill": "student teacher batches * method task optimizer epochs steps key"
  " variables placement score_on checkpoints callbacks progress batch_size"
  " patience log_every",
  "evaluate": "network variables batches * task teacher batch_size",
  "write_teacher_cache": "folder teacher batches * task features top_k dtype"
  " batch_size name",
  "Checkpoints": "folder * keep every_steps every_minutes",
  "Checkpoints.save": "self step tree note * always",
  "Checkpoints.restore": "self like",
  "describe": "network variables inputs",
  "check": "objective optimizer batch teacher * variables",
  "export": "network variables signature folder * format",
  "tasks.classification": "classes * inputs label",
  "tasks.multilabel": "labels * inputs label positive_weight",
  "tasks.regression": "outputs * inputs label huber",
  "tasks.text_classification": "classes * inputs mask label",
  "tasks.segmentation": "classes ignore * inputs label",
  "tasks.embedding": "size * inputs label",
}


@pytest.mark.parametrize("name", CALLS)
def test_arguments_stay_as_they_are(name):
  function = kdjax
  for part in name.split("."):
    function = getattr(function, part)
  words = []
  for argument in inspect.signature(function).parameters.values():
    if argument.kind is argument.KEYWORD_ONLY and "*" not in words:
      words.append("*")
    words.append(argument.name)
  wanted = CALLS[name].split()
  # Others may come, by name.
  assert _by_place(words) == _by_place(wanted)
  assert set(wanted) <= set(words)


def _by_place(words):
  return words[: words.index("*")] if "*" in words else words
