"""What `lm` builds of its settings: the start, the steps, the program."""

import functools
import json
import re

import jax
import numpy as np
import pytest
from small_tokenizers import characters
from tiny_language_models import documents, tiny_folder, write_rows

import kdjax
from kdjax import data
from kdjax.core.teacher import observe
from kdjax.data import Split
from kdjax.data.text.rows import ANSWER, QUESTION
from kdjax.models.tokenizers import tokenizer_of_files
from kdjax.models.tokenizers.answers import plain_ids
from kdjax.runner import job
from kdjax.runner.config import experiments, options
from kdjax.runner.jobs.lm import answers
from kdjax.runner.jobs.lm.answers import with_answers
from kdjax.runner.jobs.lm.build import build
from kdjax.runner.pipeline.epochs import epochs
from kdjax.train.arm import teacher_taps
from kdjax.train.batch import make_batch
from kdjax.train.loader import plan_batches
from kdjax.train.loop import initial_states
from kdjax.train.schemes.scheme import OFFLINE, in_pieces

V = 49_152


def with_more_tokens(tokenizer):
  """A tokenizer with words that no text has, V tokens in all."""
  files = dict(tokenizer.files)
  values = json.loads(files["tokenizer.json"])
  vocabulary = values["model"]["vocab"]
  first = tokenizer.vocabulary_size
  vocabulary |= {f"word {i}": i for i in range(first, V)}
  files["tokenizer.json"] = json.dumps(values).encode()
  return tokenizer_of_files(files, "wide")


@pytest.fixture(scope="module")
def prepare(tmp_path_factory):
  """Builds the setup of some flags."""
  folder = tmp_path_factory.mktemp("setup")
  tokenizer = characters()
  tiny_folder(folder / "teacher", tokenizer)
  tiny_folder(folder / "wide", with_more_tokens(tokenizer))
  tiny_folder(folder / "padded", tokenizer, vocab_size=64)
  rows = [{"text": text} for text in documents(12)]
  write_rows(folder / "rows.jsonl", rows)

  def run(teacher="teacher", **flags):
    texts = {
      "text": f"{folder}/rows.jsonl", "teacher_from": f"{folder}/{teacher}",
      "sequence_length": "16", "batch_size": "8", "accelerator": "cpu",
    }  # fmt: skip
    settings = options.with_flags(
      experiments.load_experiment("lm"), texts | flags
    )
    return build(settings).setup

  return run


def test_both_arms_begin_with_blocks_of_the_teacher(prepare):
  setup = prepare(student="blocks([1, 2])", seeds="2")
  spec = setup.student
  states = initial_states(
    spec.network, spec.optimizer, spec.arms, task=spec.task,
    sample=setup.sample, teachers={"teacher": setup.tokenization.teacher},
    variables=spec.variables,
  )  # fmt: skip
  teacher = setup.teacher.variables["params"]
  for name in ("student", "baseline"):
    own = states[name].params["network"]
    for block, source in (("stage_0", "stage_1"), ("stage_1", "stage_2")):
      for seed in (0, 1):
        jax.tree.map(
          lambda x, y, seed=seed: np.testing.assert_array_equal(x[seed], y),
          own[block],
          teacher[source],
        )


@pytest.mark.parametrize(
  ("flags", "expected"),
  [
    ({"steps": "97"}, (97, 1)),
    ({"steps": "9", "evaluations": "4"}, (9, 3)),
    *(
      pytest.param(*case, marks=pytest.mark.slow)
      for case in (
        ({"steps": "100"}, (100, 10)),
        ({"steps": "6", "evaluations": "10"}, (6, 6)),
      )
    ),
  ],
)
def test_points_of_the_curve_divide_the_steps(prepare, flags, expected):
  spec = prepare(**flags).student
  steps, points = expected
  assert (spec.epochs * spec.loaders["train"].steps, spec.epochs) == (
    steps, points,
  )  # fmt: skip


def test_texts_that_are_learned_twice_are_drawn_every_other_step(prepare):
  flags = {"policy": "mixed(student=0.7)", "max_new_tokens": "4"}
  once = prepare(**flags).student
  twice = prepare(updates_per_rollout="2", **flags).student
  loader = twice.loaders[twice.arms["student"].loader]
  assert loader.steps == once.loaders[once.arms["student"].loader].steps
  assert loader is not twice.loaders[twice.arms["baseline"].loader]
  assert twice.images == once.images


def test_classes_beyond_the_tokens_are_told(prepare, capsys):
  prepare("padded", steps="1")
  said = capsys.readouterr().err
  assert re.search(r"the teacher has 64 classes for (49|50) token ids", said)


def test_epochs_are_passes_over_the_sequences(prepare):
  setup = prepare(epochs="2")
  sequences = len(setup.train_split.labels)
  spec = setup.student
  steps = spec.epochs * spec.loaders["train"].steps
  assert steps == 2 * -(-sequences // 8)
  indices, weights = spec.loaders["train"].batches(0, 0, steps)
  shown = np.bincount(indices[weights > 0], minlength=sequences)
  assert set(shown) == {2}


def step_text(setup, arm):
  """The lowered step of one member of an arm."""
  spec, loader = setup.student, setup.student.loaders["train"]
  one = spec.arms[arm]
  plan = jax.tree.map(
    lambda x: x[0, 0], plan_batches(loader, np.array([0]), 0, 1)
  )
  stored = setup.train_split.images
  batch = make_batch(loader, loader.targets, stored, np.int32(0), 0, plan)
  states = jax.eval_shape(
    lambda: initial_states(
      spec.network, spec.optimizer, {arm: one}, task=spec.task,
      sample=setup.sample, teachers={"teacher": setup.tokenization.teacher},
    )
  )  # fmt: skip
  state = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), states[arm]
  )

  def step(state, teacher, batch):
    seen = teacher if one.scheme.asks else None
    if one.teacher and not one.scheme.asks:
      taps = teacher_taps([one])
      seen = observe(teacher, batch, taps, step=0, task=spec.task)
    return one.scheme.step(
      state, one.method({}), batch, seen, rng=jax.random.key(0)
    )

  return jax.jit(step).lower(state, setup.tokenization.teacher, batch).as_text()


@pytest.mark.parametrize(
  ("arm", "flags"),
  [
    ("student", {}),
    pytest.param("baseline", {}, marks=pytest.mark.slow),
    pytest.param(
      "student",
      {"policy": "mixed", "max_new_tokens": "40", "prompt_tokens": "24"},
      marks=pytest.mark.slow,
    ),
  ],
)
def test_no_logits_of_all_positions_and_no_one_hot_labels(prepare, arm, flags):
  setup = prepare(
    "wide", sequence_length="64", batch_size="64", seeds="1", **flags
  )
  text = step_text(setup, arm)
  shapes = {
    tuple(map(int, shape.split("x")[:-1]))
    for shape in re.findall(r"tensor<([0-9x]+x[a-z0-9]+)>", text)
  }
  width = setup.student.task.width
  assert width == V
  rows = 64 * 63
  wide = [shape for shape in shapes if shape and shape[-1] == width]
  assert wide and max(np.prod(shape[:-1]) for shape in wide) < rows, wide


LENGTHS = np.array([2, 2, 2, 2, 16, 16, 16, 16])


@pytest.fixture(scope="module")
def trained(prepare):
  """Two steps of plain descent on texts of unequal lengths."""
  plain = {"optimizer": "sgd", "schedule": "constant", "learning_rate": "0.1"}

  def run(devices=1, pieces=1):
    setup = prepare(
      steps="2",
      seeds="1",
      held_out="0.2",
      **plain,
    )
    images, targets = setup.train_split.images, setup.train_split.labels
    keep = np.arange(15) < LENGTHS[:, None] - 1
    targets = np.where(keep, targets[:8], -1)
    images = {name: x[:8] for name, x in images.items()}
    spec, order = setup.student, np.arange(8)
    loader = spec.loaders["train"]._replace(
      batches=lambda seed, start, stop: data.batches(
        order, 8, seed=None, start=start, stop=stop
      ),
      targets=targets,
    )
    setup = setup._replace(
      train_split=Split(images, targets), devices=jax.local_devices()[:devices]
    )
    arm = spec.arms["student"]._replace(scheme=in_pieces(OFFLINE, pieces))
    spec = spec._replace(arms={"student": arm}, loaders={"train": loader})
    *_, epoch = epochs(setup, spec, {"teacher": setup.tokenization.teacher})
    return jax.device_get(epoch.states["student"].params["network"])

  return functools.cache(run)


@pytest.mark.slow
@pytest.mark.parametrize(
  "how", [{"devices": 2}, {"devices": 8}, {"pieces": 4}], ids=str
)
def test_devices_and_pieces_do_not_matter(trained, how):
  whole, parts = jax.tree.leaves(trained()), jax.tree.leaves(trained(**how))
  for one, other in zip(whole, parts, strict=True):
    scale = np.abs(one).max()
    np.testing.assert_allclose(other, one, atol=1e-6 * scale, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize(
  "text",
  [
    "skew_kl:0.9 + ce:0.1", "topk_kd(k=5)", "minilmv2", "tinybert", "patient_kd",
    "fitnets(student_tap='stage_1', teacher_tap='stage_3')", "attention_maps",
  ],
)  # fmt: skip
def test_divergences_and_methods_of_transformers_fit(prepare, text):
  setup = prepare(distillation=text)
  assert setup.student.arms["student"].teacher == "teacher"


@pytest.mark.slow
def test_the_teachers_answers_are_learned_as_those_of_a_file(prepare, tmp_path):
  """Sequence-level distillation is the cross-entropy of the same rows, bitwise."""
  plain = {"seeds": "1", "steps": "3", "distillation": "hard"}
  rows = [
    {"prompt": text[:9], "completion": " of the file", "split": split}
    for text, split in zip(
      documents(12), ["train"] * 10 + ["validation", "test"], strict=True
    )
  ]
  asked = write_rows(tmp_path / "asked.jsonl", rows)
  setup = prepare(
    text=str(asked), policy="teacher", max_new_tokens="5", **plain
  )
  words = [f" says {i}." for i in range(10)]
  tokenizer = setup.teacher.tokenizer
  spoken = {
    i: [*plain_ids(tokenizer, word), tokenizer.eos[0]]
    for i, word in enumerate(words)
  }
  taught = with_answers(setup, spoken)
  own = [
    row | {"completion": word}
    for row, word in zip(rows[:10], words, strict=True)
  ]
  filed = prepare(
    text=str(write_rows(tmp_path / "own.jsonl", own + rows[10:])), **plain
  )

  def trained(setup, name):
    *_, epoch = epochs(
      setup._replace(devices=jax.local_devices()[:1]), setup.student, {}
    )
    return jax.device_get(epoch.states[name].params["network"])

  student, twin = trained(taught, "student"), trained(filed, "baseline")
  jax.tree.map(np.testing.assert_array_equal, student, twin)
  # The baseline still learns from the file.
  unlike, file = trained(taught, "baseline"), trained(setup, "baseline")
  jax.tree.map(np.testing.assert_array_equal, unlike, file)
  assert not np.array_equal(*map(jax.tree.leaves, (student, unlike)))


def test_columns_called_question_and_answer_are_not_what_is_learned(
  prepare, tmp_path
):
  """What a student begins with and learns is the text, whatever stands beside it."""
  rows = [{"text": text} for text in documents(12)]
  more = {"question": "how many are there?", "answer": "42"}
  named = [row | more for row in rows]
  examples = [
    prepare(
      text=str(write_rows(tmp_path / f"{len(one[0])}.jsonl", one)),
      policy="student", prompt_tokens="4", max_new_tokens="5",
    ).texts.parts["train"].examples.examples
    for one in (rows, named)
  ]  # fmt: skip
  jax.tree.map(np.testing.assert_array_equal, *examples)


@pytest.mark.slow
def test_students_of_the_teachers_answers_keep_their_mesh(prepare, tmp_path):
  rows = [{"prompt": text[:7], "completion": " x"} for text in documents(9)]
  setup = prepare(
    text=str(write_rows(tmp_path / "asked.jsonl", rows)), policy="teacher",
    max_new_tokens="5", mesh="data=-1",
  )  # fmt: skip
  answered = with_answers(setup, {number: [1, 2] for number in setup.prompts})
  assert answered.student.partition is not None


@pytest.mark.slow
def test_the_teacher_answers_once(prepare, tmp_path):
  """Its answers are kept, and are those of `kdjax.generate`."""
  rows = [{"prompt": text[:7], "completion": " x"} for text in documents(9)]
  asked = write_rows(tmp_path / "asked.jsonl", rows)
  setup = prepare(text=str(asked), policy="teacher", max_new_tokens="5")
  context = job.Context("", tmp_path, None, {}, {})
  own = answers.write(setup, context)
  part = own.texts.parts["answers"]
  assert part.examples.learned == 5 * len(setup.prompts)
  expected = kdjax.generate(
    setup.teacher.network, setup.teacher.variables, [*setup.prompts.values()],
    max_new_tokens=5, eos=setup.teacher.tokenizer.eos,
  )  # fmt: skip
  for row, prompt, ids in zip(
    part.rows, setup.prompts.values(), expected, strict=True
  ):
    assert list(row.values[QUESTION]) == prompt
    np.testing.assert_array_equal(row.values[ANSWER], ids)
