"""`launch.py list`: what there is, in an order that imports do not decide."""

import pytest

import launch
from kdjax import models, tasks
from kdjax.core.errors import UserError
from kdjax.core.registry import by_file
from kdjax.methods import MAKERS
from kdjax.runner.jobs.list.listing import listing


def test_schemes_are_listed_under_either_name():
  text = listing(["schemes"], experiments={})
  assert text == listing(["regimes"], experiments={})
  assert text.startswith("schemes (--scheme)\n") and "mean_teacher(" in text
  assert "regimes" not in listing([], experiments={})


def test_models_are_listed_with_the_published_ones_and_their_tensors():
  text = listing(["models"], experiments={})
  assert text.startswith("models (--teacher, --student)\n")
  assert listing(["pretrained"], experiments={}) in text
  lines = [line.strip() for line in text.splitlines()]
  assert "package:smollm2" in text and "Gemma's terms of use" in text
  at = lines.index(next(x for x in lines if x.startswith("FOLDER, phi3")))
  assert lines[at].endswith(
    "decoder of model.embed_tokens, model.norm, lm_head; model.layers.N:"
    " self_attn.qkv_proj, self_attn.o_proj, mlp.gate_up_proj, mlp.down_proj,"
    " input_layernorm, post_attention_layernorm"
  )
  assert sum(line.startswith("FOLDER, ") for line in lines) == 14


def test_a_name_that_is_none_is_refused_with_the_nearest():
  with pytest.raises(UserError, match="did you mean 'schemes'"):
    listing(["scheme"], experiments={})


def test_the_order_of_imports_decides_nothing():
  files = {}
  for name, maker in models.MAKERS.items():
    files.setdefault(maker.__module__, {})[name] = maker
  assert len(files) > 5
  other_order = {
    name: maker
    for one in reversed(files.values())
    for name, maker in one.items()
  }
  assert list(by_file(other_order)) == list(by_file(models.MAKERS))
  assert list(by_file(other_order)) != list(other_order)


@pytest.mark.parametrize(
  ("task", "fits", "misfit"),
  [
    (tasks.classification(3), {"kd", "rkd", "byot"}, {}),
    (
      tasks.multilabel(2),
      {"kd", "binary_kd", "crd"},
      {
        "byot": "reads scores of classes; the answers of multilabel are scores of"
      },
    ),
    (
      tasks.regression(2),
      {"logit_mse", "srrl", "sp"},
      {"kd": "reads scores of classes or scores of yes and no; the answers of"},
    ),
    (
      tasks.gaussian_regression(2),
      {"gaussian_kl", "rkd"},
      {"kd": "the answers of gaussian_regression are normal distributions"},
    ),
    (
      tasks.embedding(2),
      {"cosine", "seed", "crd", "rkd", "minilmv2"},
      {"kd": "the answers of embedding are vectors"},
    ),
  ],
  ids=lambda value: getattr(value, "name", ""),
)
def test_methods_of_a_task_and_why_the_others_do_not_fit(task, fits, misfit):
  text, *others = listing(["methods"], experiments={}, task=task).split("\n\n")
  lines = [line.strip() for line in text.splitlines()]
  reasons = dict(
    line.strip().split(maxsplit=1) for line in others[0].splitlines()[1:]
  )
  named = {line.partition("(")[0].partition(" ")[0] for line in lines}
  assert fits <= named and not fits & set(reasons)
  # Each method stands once.
  assert set(MAKERS) == (named & set(MAKERS)) ^ set(reasons)
  for name, reason in misfit.items():
    assert reason in reasons[name]


def test_a_family_or_preset_fits_where_its_methods_do():
  text, _ = listing(["methods"], experiments={}, task=tasks.embedding(2)).split(
    "\n\n"
  )
  names = {line.split()[0] for line in text.splitlines()}
  assert {"relation", "hard"} <= names and not {"response", "soft"} & names


@pytest.mark.parametrize(
  ("words", "says"),
  [
    (["methods", "--task=embeddin"], "did you mean 'embedding'"),
    (["models", "--task=embedding"], "shows the methods"),
    (["methods", "--task=embedding(0)"], "size= takes a whole number >= 1"),
  ],
)
def test_a_task_that_is_none_ends_in_one_line(words, says, capsys):
  assert launch.main(["launch.py", "list", *words]) == 2
  message = capsys.readouterr().err.strip().splitlines()
  assert len(message) == 1 and says in message[0]


def test_the_flag_names_the_task(capsys):
  assert launch.main(["launch.py", "list", "methods", "--task=lm"]) == 0
  text = capsys.readouterr().out
  assert text.startswith("methods (--distillation)\n") and "  kd(" in text
  _, others = text.split("methods that do not fit (--task=language_model)\n")
  assert "gaussian_kl" in others and "kd" not in others.split()
