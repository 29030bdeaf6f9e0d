"""The text experiment: its sentences, and that each arm learns what it matches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.text import corpus, minilm_student
from experiments.text.student import (
  Settings,
  TeacherAnswers,
  distil,
  loss_of,
  make_step,
  make_student,
  teach,
)
from kdjax.models.bert_sizes import bert

SETTINGS = Settings(
  width=8,
  heads=2,
  tokens=6,
  layers=("stage_0", "stage_1"),
  steps=30,
  batch=8,
  rate=1e-2,
)


@pytest.mark.parametrize(
  ("source", "expected"),
  [
    ('"""Returns the sum of all the given values."""', 1),
    ('"""Too short to count."""', 0),
    ('"""returns the sum of all the given values."""', 0),
    ('"""Returns the sum of 3 or 4 given values."""', 0),
    ('"""Returns x[i] for all of the given values."""', 0),
    ('"""Returns ------- The sum of all the given values."""', 0),
    (
      '"""Returns the sum of the values.\n\n  Draws the figure on the axes."""',
      2,
    ),
    (
      '"""Returns the sum of the values. It draws all of\n  them on axes."""',
      2,
    ),
    ('def f():\n  """Returns the sum of all the given values."""', 1),
    ("x = 'Returns the sum of all the given values.'", 0),
    ("def f(:", 0),
  ],
)
def test_sentences_of_source(source, expected):
  assert len(list(corpus.in_source(source))) == expected


def test_split_shares_no_sentence():
  drawn = corpus.split(["jinja2", "absl"], ["jinja2", "optax"], 40, 50)
  assert [len(set(map(corpus.letters, part))) for part in drawn] == [40, 50]
  everything = corpus.split(["absl"], ["absl", "jinja2"], 0, 10)
  assert everything[0] == []


def test_too_few_sentences_are_refused():
  with pytest.raises(ValueError):
    corpus.split(["absl"], ["jinja2"], 10**6, 1)


@pytest.fixture(scope="module")
def lesson():
  """(teacher's word vectors, tokens, what the teacher says of them)."""
  teacher = bert(
    classes=0,
    vocabulary=30,
    width=16,
    depth=2,
    heads=2,
    mlp=32,
    positions=6,
    pool="mean",
    normalise=True,
  )
  rng = np.random.default_rng(0)
  tokens = rng.integers(1, 30, (32, 6)).astype(np.int32)
  tokens[:16, 4:] = 0
  variables = teacher.init(jax.random.key(7), tokens)
  words = np.asarray(variables["params"]["stem"]["tokens"]["embedding"])
  return words, tokens, teach(teacher, variables, tokens, SETTINGS.layers)


@pytest.mark.slow
def test_the_teacher_is_asked_about_every_sentence(lesson):
  _, tokens, answers = lesson
  assert answers.embeddings.shape == (32, 16)
  shapes = [x.shape for x in jax.tree.leaves(answers.matched)]
  assert shapes == [(32, 6, 16)] * 5
  assert {x.dtype for x in jax.tree.leaves(answers.matched)} == {
    np.dtype(np.float16)
  }
  np.testing.assert_allclose(
    np.linalg.norm(answers.embeddings, axis=1), 1, atol=1e-5
  )


@pytest.fixture(scope="module")
def untrained(lesson):
  return make_student(lesson[0], 0, SETTINGS)


@pytest.fixture(scope="module")
def losses():
  """losses(state, tokens, answers) -> the loss of every arm."""

  @jax.jit
  def losses(state, tokens, answers):
    return [
      loss_of(state.params, state.apply_fn, tokens, answers, weights, 2)
      for weights in minilm_student.ARMS.values()
    ]

  return losses


@pytest.mark.slow
def test_matching_everything_lowers_every_arms_loss(lesson, untrained, losses):
  _, tokens, answers = lesson
  step = make_step({"hidden": 1.0, "relations": 0.1}, SETTINGS.heads)
  end = distil(step, untrained, tokens, answers, 0, SETTINGS)
  before, after = (losses(s, tokens, answers) for s in (untrained, end))
  assert np.all(np.array(after) < 0.8 * np.array(before))


@pytest.mark.slow
def test_what_the_teacher_says_of_padding_is_not_matched(
  lesson, untrained, losses
):
  _, tokens, answers = lesson
  padding = (tokens == 0)[..., None]
  changed = jax.tree.map(
    lambda x: np.where(padding, np.float16(9), x), answers.matched
  )
  np.testing.assert_allclose(
    losses(untrained, tokens, answers),
    losses(untrained, tokens, TeacherAnswers(answers.embeddings, changed)),
    rtol=1e-6,
  )


@pytest.mark.slow
def test_word_vectors_start_as_the_teachers(lesson, untrained):
  words, params = lesson[0], untrained.params["student"]
  near = params["stem"]["tokens"]["embedding"] @ params["head"]["kernel"] / 0.1
  left, directions, right = np.linalg.svd(words, full_matrices=False)
  best = left[:, :8] * directions[:8] @ right[:8]
  np.testing.assert_allclose(near, best, atol=1e-5)
  assert jnp.linalg.norm(near) > 0.5 * np.linalg.norm(words)


def test_summary_by_hand():
  found = {"one": [{"all": {"spearman": 0.25}}, {"all": {"spearman": 0.75}}]}
  table = minilm_student.summary(found)
  assert table["one"]["all"]["spearman"] == {"mean": 0.5, "deviation": 0.3536}
