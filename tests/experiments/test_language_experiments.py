"""The experiments with language models: their texts, their settings, that they build."""

import json
import pathlib

import jax
import numpy as np
import pytest
import small_runs
from tiny_language_models import documents, write_rows

from experiments import language_models, large_language_models
from experiments.text import small_gpt
from experiments.text.documents import SPLITS, parts, select
from kdjax.core.errors import UserError
from kdjax.data.text import Row, read_rows
from kdjax.methods import make_objective
from kdjax.models import make_model, pretrained
from kdjax.models.pretrained.load import network_of
from kdjax.runner import cli
from kdjax.runner.config import experiments, flags, options
from kdjax.runner.config.commands import LanguageConfig
from kdjax.runner.jobs.lm.build import build
from kdjax.runner.pipeline import rules
from kdjax.runner.pipeline.partition import batch_parts, read_partition
from kdjax.train.devices import placement
from kdjax.train.optimizer import make_optimizer

SMALL = language_models.EXPERIMENTS
LARGE = large_language_models.EXPERIMENTS
ALL = SMALL | LARGE
PAGE = pathlib.Path(experiments.folder().parent / "docs" / "recipes.md")


@pytest.mark.parametrize(
  ("document", "expected"),
  [
    ("", []),
    ("\n \n", []),
    ("abc", ["abc"]),
    ("ab\ncd\nef\n", ["ab\ncd\n", "ef\n"]),
    ("a long line\nb", ["a long line\n", "b"]),
    ("abc\n\n\n", ["abc\n"]),
  ],
)
def test_parts_end_with_a_line(document, expected):
  assert parts(document, 4) == expected


ROWS = [
  Row({"text": f"{i}: a\n{i}: b\n{i}: c\n"}, f"document {i}") for i in range(9)
]


def drawn(**counts):
  rows = [*select(ROWS, {name: counts.get(name, 2) for name in SPLITS}, 4)]
  return {
    name: [row["text"] for row in rows if row["split"] == name]
    for name in SPLITS
  }


def test_no_document_is_in_two_splits():
  numbers = [{text[0] for text in texts} for texts in drawn(train=9).values()]
  assert sum(map(len, numbers)) == len(set().union(*numbers))


def test_less_to_learn_from_is_a_beginning_of_more():
  few, more = drawn(train=3), drawn(train=7)
  assert few["train"] == more["train"][:3]
  assert [few[name] for name in SPLITS[1:]] == [more[x] for x in SPLITS[1:]]


def test_prompts_stay_whole():
  rows = [
    Row({"prompt": f"{i}?", "completion": "a\nb\nc"}, str(i)) for i in range(5)
  ]
  for row in select(rows, dict.fromkeys(SPLITS, 1), 2):
    assert row["completion"] == "a\nb\nc" and row["prompt"][1] == "?"


def test_too_few_parts_are_said():
  with pytest.raises(UserError, match=r"--test=99: the \d documents .* parts"):
    drawn(test=99)


def test_a_tokenizer_of_its_own_gives_back_what_it_reads():
  tokenizer = small_gpt.make_tokenizer(["the cat sat, the cat ran"] * 9, 300)
  text = "the cat\n\tÄ 🙂"
  assert tokenizer.decode(tokenizer.encode(text)) == text
  assert len(tokenizer.encode("the cat sat")) < len("the cat sat")
  assert tokenizer.eos == (0,)


@pytest.mark.parametrize("name", ALL)
def test_settings_can_be_read(name):
  settings = ALL[name]
  options.check(settings)
  flags.check_experiment("lm", name, settings, cli.CONFIGS)
  values = rules.check(LanguageConfig, settings)
  make_objective(values.objective, steps=100, examples=8, classes=9)
  make_optimizer(settings.student.optimizer, settings.student.schedule, 100)


@pytest.mark.parametrize("name", LARGE)
def test_a_large_recipe_fits_eight_devices(name):
  settings = LARGE[name]
  computing, devices = settings.computing, jax.devices()
  made = read_partition(computing.mesh, computing.shard_rules, devices)
  assert made.mesh.size == len(devices) == 8
  assert settings.student.batch_size % batch_parts(made, devices) == 0


def test_lm_takes_these_experiments_and_no_other():
  """What was chosen for images is not a text's: not even its learning rate."""
  for name, (settings, _) in experiments.all_experiments().items():
    # That of `synthesise` names a student for images, which ends the run.
    if name in ALL or name == "dataset_distillation":
      continue
    with pytest.raises(
      UserError, match=f"the experiment {name} sets it, and lm"
    ):
      flags.check_experiment("lm", name, settings, cli.CONFIGS)


def test_the_page_names_every_large_recipe():
  for name in LARGE:
    assert f"`{name}`" in PAGE.read_text()


@pytest.fixture(scope="module")
def places(tmp_path_factory):
  """Texts, a teacher as deep as SmolLM2, and a small GPT, all tiny."""
  folder = tmp_path_factory.mktemp("places")
  rows = [
    {"text": text, "split": SPLITS[i % 3]}
    for i, text in enumerate(documents(12))
  ]
  asked = [
    {"prompt": text[:6], "completion": text[6:30], "split": SPLITS[i % 3]}
    for i, text in enumerate(documents(12, 1))
  ]
  write_rows(folder / "rows.jsonl", rows)
  write_rows(folder / "asked.jsonl", asked)
  gpt = "decoder(family='gpt2', width=8, depth=1, heads=2, positions=128)"
  small_gpt.write(folder / "gpt", str(folder / "rows.jsonl"), gpt)
  tokenizer = small_gpt.make_tokenizer([row["text"] for row in rows])
  write_deep(folder / "deep", tokenizer)
  return folder


def write_deep(folder, tokenizer):
  """A language model as deep as SmolLM2, whose weights are all alike."""
  module = make_model(
    "decoder(width=8, depth=30, heads=2, positions=512)",
    classes=tokenizer.vocabulary_size,
  )
  shapes = jax.eval_shape(
    module.init, jax.random.key(0), np.zeros((1, 2), np.int32)
  )
  variables = jax.tree.map(lambda x: np.full(x.shape, 0.1, x.dtype), shapes)
  pretrained.save(folder, network_of(module), variables, tokenizer=tokenizer)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SMALL if name != "lm"])
def test_an_experiment_builds(name, places, monkeypatch):
  monkeypatch.setattr(placement, "choose", lambda _: jax.devices()[:1])
  settings = SMALL[name]
  deep = "package" in settings.teacher.teacher_from
  given = {
    "text": "asked" if settings.language.policy == "teacher" else "rows",
    "teacher_from": str(places / ("deep" if deep else "gpt")),
    "accelerator": "cpu",
  }
  given["text"] = f"{places / given['text']}.jsonl"
  if settings.language.student_from:
    packaged = "package" in settings.language.student_from
    given["student_from"] = str(places / ("deep" if packaged else "gpt"))
  if deep and name != "lm_demo":
    # Thirty blocks take long to trace, and all those steps are alike.
    small_runs.untried(monkeypatch)
  setup = build(options.with_flags(settings, given)).setup
  assert len(setup.grid) == max(len(settings.search.rates), 1)
  if deep:
    blocks = setup.student_model.pretrained.variables["params"]
    count = sum(key.startswith("stage_") for key in blocks)
    assert settings.student.model == f"layers({count})"


def test_a_file_of_documents_is_what_lm_reads(tmp_path, monkeypatch, capsys):
  from experiments.text import documents as command

  write_rows(tmp_path / "all.jsonl", [row.values for row in ROWS])
  file = tmp_path / "new" / "few.jsonl"
  given = [str(file), str(tmp_path / "all.jsonl"), "--characters=4"]
  given += ["--train=3", "--validation=1", "--test=2"]
  monkeypatch.setattr("sys.argv", ["documents.py", *given])
  command.main()
  assert "9 documents, 6 parts" in capsys.readouterr().out
  splits = [row.values["split"] for row in read_rows(file)]
  assert [splits.count(name) for name in SPLITS] == [3, 1, 2]
  assert all(json.loads(line) for line in file.read_text().splitlines())
