"""`launch.py lm --student='width(...)'`: cut by what the training texts show."""

import functools
import json

import numpy as np
import pytest
from small_tokenizers import characters
from tiny_language_models import documents, run_lm, tiny_folder, write_rows

from kdjax import pretrained
from kdjax.models.pretrained.importance import scores_of

run = functools.partial(run_lm, seeds=1)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
  folder = tmp_path_factory.mktemp("places")
  heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
  tiny_folder(folder / "teacher", characters(), **heads)
  tiny_folder(folder / "other", characters(), seed=1, **heads)
  write_rows(folder / "rows.jsonl", [{"text": text} for text in documents(12)])
  return folder


@pytest.mark.slow
@pytest.mark.parametrize(
  "flags",
  [
    (),
    pytest.param(
      ("--student_from=other", "--quantization=w8"),
      marks=pytest.mark.exhaustive,
    ),
    pytest.param(
      ("--lora=rank(2)", "--policy=student", "--max_new_tokens=4"),
      marks=pytest.mark.exhaustive,
    ),
  ],
)
def test_run(places, tmp_path, bare_runs, monkeypatch, flags):
  monkeypatch.chdir(places)
  which = "width(layers(2), mlp=0.5, heads=0.5, hidden=0.75)"
  workdir = tmp_path / "run"
  assert run(places, workdir, f"--student={which}", *flags) == 0
  results = json.loads((workdir / "results.json").read_text())
  student, untrained = results["student"], results["controls"]["untrained"]
  assert student["teacher_kl"][0] < untrained["teacher_kl"][0]
  assert which in student["model"]
  config = json.loads((workdir / "student" / "config.json").read_text())
  sizes = {
    "hidden_size": 12, "intermediate_size": 12, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 4, "num_hidden_layers": 2,
  }  # fmt: skip
  assert {name: config[name] for name in sizes} == sizes
  saved = pretrained.load(workdir / "student")
  for path in ("stage_0", "stage_1"):
    kernel = saved.variables["params"][path]["mlp"]["gate"]["kernel"]
    assert kernel.shape == (12, 12)


@pytest.mark.slow
def test_texts_choose(places):
  """By the tokens of one document alone another neuron matters most."""
  teacher = pretrained.load(places / "teacher")
  first = [
    scores_of(
      teacher.network,
      teacher.variables["params"],
      {"tokens": np.full((1, 8), token), "mask": np.ones((1, 8), bool)},
    ).mlp.argmax(axis=1)
    for token in (3, 7, 11)
  ]
  assert len({tuple(one) for one in first}) > 1


@pytest.mark.parametrize(
  ("flags", "said"),
  [
    (["--student=width(mlp=0)"], "share in (0, 1]"),
    (["--student=width(mlp=25)"], "mlp=25: there are 24"),
    (["--student=width(heads=3)"], "possible: 2, 4"),
    (["--student=width(layers(9), mlp=0.5)"], "there are 4 blocks"),
    (["--student=width(layers=2)"], "there is no argument 'layers'"),
    (["--student=widths(mlp=0.5)"], "unknown model"),
  ],
)
def test_refused(places, tmp_path, capsys, flags, said):
  assert run(places, tmp_path / "run", *flags) == 2
  assert said in capsys.readouterr().err.splitlines()[-1]
  assert not (tmp_path / "run").exists()
