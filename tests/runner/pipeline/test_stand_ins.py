"""Teachers that know less: what stays of the real one's answers."""

import numpy as np
import pytest
import scipy.special

from kdjax.runner.pipeline.stand_ins import stand_in

RNG = np.random.default_rng(3)
ANSWERS = RNG.normal(0, 3, (60, 4))
LABELS = RNG.integers(0, 4, 60)


def entropy(logits, temperature):
  softened = scipy.special.softmax(logits / temperature, axis=-1)
  return scipy.special.entr(softened).sum(axis=-1)


def test_shuffled_answers_stay_in_their_class_and_leave_their_example():
  answers = stand_in("shuffled_teacher", ANSWERS, LABELS, temperature=4.0)
  for label in range(4):
    of_class = label == LABELS
    before, after = ANSWERS[of_class].astype(np.float32), answers[of_class]
    np.testing.assert_array_equal(
      np.sort(before, axis=0), np.sort(after, axis=0)
    )
    assert (before != after).any(axis=-1).all()


def test_hidden_labels_are_the_teachers_own():
  hidden = np.full(60, -1)
  answers = stand_in("shuffled_teacher", ANSWERS, hidden, temperature=1.0)
  np.testing.assert_array_equal(answers.argmax(-1), ANSWERS.argmax(-1))


def test_only_one_of_its_class_keeps_its_answer():
  answers = stand_in(
    "shuffled_teacher", ANSWERS[:2], np.array([0, 1]), temperature=1.0
  )
  np.testing.assert_array_equal(answers, ANSWERS[:2].astype(np.float32))


@pytest.mark.parametrize("temperature", [1.0, 4.0, 20.0])
def test_matched_smoothing_has_the_teachers_entropy(temperature):
  answers = stand_in(
    "matched_smoothing", ANSWERS, LABELS, temperature=temperature
  )
  np.testing.assert_allclose(
    entropy(answers, temperature),
    entropy(ANSWERS, temperature).mean(),
    rtol=1e-4,
  )
  np.testing.assert_array_equal(answers.argmax(-1), LABELS)


def test_a_certain_teacher_is_matched_by_finite_logits():
  answers = stand_in(
    "matched_smoothing", 1e4 * np.eye(3), np.arange(3), temperature=1.0
  )
  assert np.isfinite(answers).all()


def test_uniform_teacher_finds_all_classes_alike():
  answers = stand_in("uniform_teacher", ANSWERS, LABELS, temperature=1.0)
  np.testing.assert_allclose(entropy(answers, 1.0), np.log(4), rtol=1e-6)


def test_noise_is_as_spread_out_as_the_teacher_and_knows_nothing():
  many = np.repeat(ANSWERS, 50, axis=0)
  answers = stand_in(
    "noise_teacher", many, np.repeat(LABELS, 50), temperature=1.0
  )
  centred = many - many.mean(axis=-1, keepdims=True)
  np.testing.assert_allclose(answers.std(), centred.std(), rtol=0.05)
  assert abs(np.corrcoef(answers.ravel(), many.ravel())[0, 1]) < 0.05
