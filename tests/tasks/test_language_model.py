"""Language models as a task: what counts, what it is divided by, what is refused.

What well-known systems got wrong about it is here a variant that a test rejects.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compiled import losses as compiled

import kdjax
from kdjax import losses, tasks
from kdjax.core.errors import UserError
from kdjax.core.task import final_score
from kdjax.tasks import language_model

V = 7
TASK = language_model(V)
RNG = np.random.default_rng(0)
# A row with a prompt, its answer (the end of it at 5) and padding; a row that is
# all answer; one with padding before it; one without an answer.
TOKENS = np.array(
  [
    [1, 2, 3, 4, 5, 0, 0, 0],
    [3, 2, 1, 6, 5, 4, 3, 2],
    [0, 0, 3, 4, 2, 6, 1, 5],
    [1, 1, 2, 6, 6, 6, 6, 6],
  ]
)
MASK = np.array([[1] * 5 + [0] * 3, [1] * 8, [0] * 2 + [1] * 6, [1] * 8])
COUNTS = np.array(
  [[0, 0, 0, 1, 1, 0, 0, 0], [1] * 8, [1] * 8, [0] * 8], np.int32
)
# By hand: where the next token is of an answer.
LEARNED = np.array(
  [
    [0, 0, 1, 1, 0, 0, 0],
    [1, 1, 1, 1, 1, 1, 1],
    [0, 0, 1, 1, 1, 1, 1],
    [0, 0, 0, 0, 0, 0, 0],
  ]
)
ITEM = {"tokens": TOKENS, "mask": MASK, "counts": COUNTS}
LOGITS, TEACHER_LOGITS = (
  RNG.normal(size=(4, 8, V)).astype(np.float32) for _ in range(2)
)


def answers_alone(variables, inputs, *, train, rngs):
  """A network that is nothing but its answers, (B, T, V)."""
  return variables["logits"]


NETWORK = kdjax.from_apply(answers_alone)


def teacher_of(logits):
  return kdjax.live_teacher(NETWORK, {"logits": logits})


@functools.cache
def gradient_of(text, task=TASK):
  """Of a method's loss in the student's answers."""
  method = kdjax.make_method(text, task=task)
  goal = kdjax.objective(method, NETWORK, task)

  @jax.jit
  def run(logits, teacher, item):
    teacher = teacher_of(teacher)
    params, state = goal.init(
      jax.random.key(0), {"logits": logits}, teacher, item
    )

    def loss(params):
      return goal.loss(
        params, state, teacher, item, step=0, key=jax.random.key(1)
      )

    (value, (_, metrics)), slope = jax.value_and_grad(loss, has_aux=True)(
      params
    )
    return value, slope["network"]["logits"], metrics

  return run


@pytest.mark.parametrize(
  ("item", "learned"),
  [
    (ITEM, LEARNED),
    ({"tokens": TOKENS[:1]}, [[1] * 7]),
    ({"tokens": TOKENS[:1], "mask": MASK[:1]}, [[1] * 4 + [0] * 3]),
    # Documents of 3, 2 and 2 tokens, and padding.
    (
      {
        "tokens": TOKENS[:1],
        "segments": np.array([[1, 1, 1, 2, 2, 3, 3, 0]]),
      },
      [[1, 1, 0, 1, 0, 1, 0]],
    ),
    # Labels alone say what is learned, and what.
    (
      {
        "tokens": TOKENS[:1],
        "labels": np.array([[1, -100, 3, -1, 4, 4, -100, -100]]),
      },
      [[0, 1, 0, 1, 1, 0, 0]],
    ),
    (
      {**ITEM, "weight": np.array([0, 1, 0, 1])},
      LEARNED * [[0], [1], [0], [1]],
    ),
  ],
)
def test_which_positions_count(item, learned):
  batch = TASK.batch(item)
  weights = TASK.weights(batch)
  np.testing.assert_array_equal(weights.rows, np.reshape(learned, -1))
  assert weights.examples is batch.weight
  places = item.get("labels", item["tokens"])[:, 1:]
  counts = np.array(learned) > 0
  np.testing.assert_array_equal(
    np.asarray(batch.targets)[counts], places[counts]
  )
  rows = TASK.rows(jnp.zeros((*item["tokens"].shape, V)), batch)
  assert rows.answers.shape == (counts.size, V)


@pytest.mark.parametrize(
  "text", ["forward_kl:0.9 + ce:0.1", "dkd:0.5 + ce:0.5", "hard"]
)
@pytest.mark.parametrize("garbage", [0.0, jnp.nan, jnp.inf, -jnp.inf])
def test_no_gradient_where_nothing_counts(text, garbage):
  counts = jnp.asarray(np.pad(LEARNED, ((0, 0), (0, 1))) > 0)[..., None]
  want, slope, _ = gradient_of(text)(LOGITS, TEACHER_LOGITS, ITEM)
  if garbage:
    spoiled = [jnp.where(counts, x, garbage) for x in (LOGITS, TEACHER_LOGITS)]
    value, spoiled_slope, _ = gradient_of(text)(*spoiled, ITEM)
    assert float(value) == float(want)
    np.testing.assert_array_equal(spoiled_slope, slope)
  there = np.abs(slope).max(-1) > 0
  np.testing.assert_array_equal(there, counts[..., 0])


def test_the_loss_is_a_sum_divided_by_the_tokens_that_count():
  value, _, metrics = gradient_of("forward_kl:0.9 + ce:0.1")(
    LOGITS, TEACHER_LOGITS, ITEM
  )
  log_q, log_p = (
    np.asarray(jax.nn.log_softmax(x[:, :-1]), np.float64)
    for x in (LOGITS, TEACHER_LOGITS)
  )
  kl = (np.exp(log_p) * (log_p - log_q)).sum(-1)
  ce = -np.take_along_axis(log_q, TOKENS[:, 1:, None], -1)[..., 0]
  count = LEARNED.sum()
  kl, ce = ((x * LEARNED).sum() / count for x in (kl, ce))
  assert float(value) == pytest.approx(0.9 * kl + 0.1 * ce, rel=1e-6)
  assert {float(number) for _, number in metrics.values()} == {count}
  means = {name: float(a / b) for name, (a, b) in metrics.items()}
  assert means["nats_per_token"] == pytest.approx(ce, rel=1e-6)
  assert means["ce"] == pytest.approx(ce, rel=1e-6)


def test_scores_by_hand():
  batch = TASK.batch(ITEM)
  rows = TASK.rows(LOGITS, batch)
  sums = jax.jit(
    lambda rows: {name: metric(rows) for name, metric in TASK.metrics.items()}
  )(rows)
  got = {
    name: final_score(TASK, name, float(total) / float(count))
    for name, (total, count) in sums.items()
  }
  top = np.asarray(LOGITS)[:, :-1].argmax(-1) == TOKENS[:, 1:]
  assert got["accuracy"] == pytest.approx((top * LEARNED).sum() / 14)
  assert got["perplexity"] == pytest.approx(np.exp(got["nats_per_token"]))
  assert (TASK.score, TASK.better) == ("nats_per_token", -1)
  assert TASK.words.told(3.16497) == "nats per token 3.1650"


def test_a_position_without_label_counts_for_the_teacher_alone():
  """As a text that the student has made itself: it is no truth."""
  item = {**ITEM, "labels": np.full_like(TOKENS, -100)}
  value, _, metrics = gradient_of("forward_kl:0.9 + ce:0.1")(
    LOGITS, TEACHER_LOGITS, item
  )
  total, count = metrics["divergence"]
  assert float(count) == 14 and float(metrics["ce"][0]) == 0
  assert float(value) == pytest.approx(0.9 * float(total) / 14, rel=1e-6)
  assert float(metrics["nats_per_token"][1]) == 0


def kl_of(student, teacher):
  return losses.forward_kl(student, teacher)


def without_mask(student, teacher, item):
  """tunix: a mean over all positions."""
  return kl_of(student, teacher)[:, :-1].mean()


def at_the_answer(student, teacher, item):
  """TRL's GOLD: logits of the answer's tokens, which tell of those behind."""
  return losses.masked_mean(kl_of(student, teacher), item["counts"] > 0)


def mean_of_means(student, teacher, item):
  """Two micro-batches of two rows each, unequal in tokens."""
  halves = [
    ours(
      *(x[part] for x in (student, teacher)),
      {k: x[part] for k, x in item.items()},
    )
    for part in (slice(2), slice(2, 4))
  ]
  return sum(halves) / 2


def filled_with_zeros(student, teacher, item):
  """A real logit in the columns that the student's head does not have."""
  student = jnp.pad(student[..., :V], ((0, 0), (0, 0), (0, 2)))
  return ours(student, teacher, item, language_model(V + 2))


def filled_by_the_teacher(student, teacher, item):
  """ms-swift: in the student's missing columns stand the teacher's logits."""
  student = jnp.concatenate([student[..., :V], teacher[..., V:]], axis=-1)
  return ours(student, teacher, item, language_model(V + 2))


def labels_in_their_own_places(student, teacher, item):
  """DistillKit: logits are masked by the labels that stand at the same place."""
  batch = TASK.batch(item)
  labels = jnp.pad(batch.targets, ((0, 0), (1, 0)), constant_values=-1)
  return losses.masked_mean(kl_of(student, teacher), labels >= 0)


def masked_too_late(student, teacher, item):
  """p (log p - log q), then the mask: -inf times 0."""
  log_p, log_q = jax.nn.log_softmax(teacher), jax.nn.log_softmax(student)
  terms = (jnp.exp(log_p) * (log_p - log_q)).sum(-1)[:, :-1]
  counts = TASK.batch(item).targets >= 0
  return jnp.sum(counts * terms) / counts.sum()


@functools.partial(jax.jit, static_argnames="task")
def ours(student, teacher, item, task=TASK):
  method = kdjax.make_method("forward_kl:1", task=task)
  goal = kdjax.objective(method, NETWORK, task)
  teacher = teacher_of(teacher)
  params, state = goal.init(
    jax.random.key(0), {"logits": student}, teacher, item
  )
  return goal.loss(params, state, teacher, item, step=0, key=jax.random.key(0))[
    0
  ]


def gradient_is_at_answers(loss):
  slope = jax.jit(jax.grad(loss))(LOGITS, TEACHER_LOGITS, ITEM)
  return np.array_equal(np.abs(slope).max(-1)[:, :-1] > 0, LEARNED)


def is_over_all_tokens(loss):
  value = loss(LOGITS, TEACHER_LOGITS, ITEM)
  kl = np.asarray(jax.jit(kl_of)(LOGITS, TEACHER_LOGITS))[:, :-1]
  return np.allclose(value, (kl * LEARNED).sum() / LEARNED.sum(), rtol=1e-5)


def padded_classes_do_not_count(loss):
  padded = [
    np.concatenate([x, np.full((4, 8, 2), fill, np.float32)], axis=-1)
    for x, fill in ((LOGITS, 3.0), (TEACHER_LOGITS, -2.0))
  ]
  want = ours(LOGITS, TEACHER_LOGITS, ITEM)
  return np.allclose(loss(*padded, ITEM), want, rtol=1e-6)


def infinite_logits_do_no_harm(loss):
  """A class that both mask, and positions of nothing but -inf."""
  student, teacher = (np.array(x) for x in (LOGITS, TEACHER_LOGITS))
  for x in (student, teacher):
    x[..., 6] = x[3] = -np.inf
  return np.isfinite(jax.jit(jax.grad(loss))(student, teacher, ITEM)).all()


@pytest.mark.parametrize(
  ("wrong", "holds"),
  [
    (without_mask, gradient_is_at_answers),
    (at_the_answer, gradient_is_at_answers),
    (mean_of_means, is_over_all_tokens),
    (labels_in_their_own_places, gradient_is_at_answers),
    (filled_with_zeros, padded_classes_do_not_count),
    (filled_by_the_teacher, padded_classes_do_not_count),
    (masked_too_late, infinite_logits_do_no_harm),
  ],
)
def test_a_common_mistake_is_not_made(wrong, holds):
  assert holds(ours)
  assert not holds(jax.jit(wrong))


def no_divergence(student, teacher, *, k):
  """verl: the terms of the k largest, whose probabilities sum to no 1."""
  log_p, log_q = jax.nn.log_softmax(teacher), jax.nn.log_softmax(student)
  top, ids = jax.lax.top_k(log_p, k)
  gaps = top - jnp.take_along_axis(log_q, ids, axis=-1)
  return (jnp.exp(top) * gaps).sum(-1)


def grows_to_the_whole(loss):
  """Never negative, no less for a larger k, never more than the whole."""
  sizes = (1, 2, 4, V)
  values, whole = jax.jit(
    lambda *logits: (
      jnp.stack([loss(*logits, k=k) for k in sizes]),
      kl_of(*logits),
    )
  )(LOGITS, TEACHER_LOGITS)
  values = np.asarray(values)
  steps = np.diff(values, axis=0)
  return (
    values.min() >= 0
    and steps.min() > -1e-6
    and np.allclose(values[-1], whole, rtol=1e-5, atol=1e-6)
  )


def clamped(student, teacher, *, k):
  """The same, made not negative: it is 0 where the student is far off too."""
  return jnp.maximum(no_divergence(student, teacher, k=k), 0.0)


def test_a_truncated_divergence_is_one():
  assert grows_to_the_whole(
    lambda *logits, k: losses.topk_kd(*logits, k=k, tail="bucket")
  )
  assert not grows_to_the_whole(no_divergence)
  assert not grows_to_the_whole(clamped)


def softmax(x):
  return np.exp(x) / np.exp(x).sum(-1, keepdims=True)


def crossed(student, teacher, beta):
  """EasyDeL: the mixture's shares and the weights are not those of one name."""
  p, q = softmax(teacher), softmax(student)
  mixture = (1 - beta) * p + beta * q

  def kl(a):
    return (a * np.log(a / mixture)).sum(-1)

  return beta * kl(p) + (1 - beta) * kl(q)


@pytest.mark.parametrize("beta", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_a_generalized_jsd_weighs_as_it_mixes(beta, temperature):
  with jax.enable_x64(True):
    student, teacher = (
      np.asarray(x, np.float64) for x in (LOGITS, TEACHER_LOGITS)
    )
    p, q = (softmax(x / temperature) for x in (teacher, student))
    mixture = beta * p + (1 - beta) * q

    def kl(a, b):
      return (a * np.log(a / b)).sum(-1)

    want = beta * kl(p, mixture) + (1 - beta) * kl(q, mixture)
    want = {0.0: kl(p, q), 1.0: kl(q, p)}.get(beta, want)
    got = compiled.generalized_jsd(
      student, teacher, beta=beta, temperature=temperature
    )
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)
    if temperature == 1:
      same = np.allclose(crossed(student, teacher, beta), want, rtol=1e-6)
      assert same == (beta == 0.5)


@pytest.mark.parametrize(
  ("item", "says"),
  [
    ({"token": TOKENS}, "no entry 'tokens'"),
    ({"tokens": TOKENS[0]}, r"'tokens' has the shape \(8,\)"),
    ({"tokens": TOKENS * 0.5}, "'tokens' has .* float64"),
    ({"tokens": TOKENS[:, :1]}, "T >= 2"),
    ({**ITEM, "mask": MASK[:, 1:]}, r"'mask' has the shape \(4, 7\)"),
    ({**ITEM, "counts": COUNTS * 0.5}, "'counts' has .* float64"),
    ({**ITEM, "labels": TOKENS[:2]}, r"'labels' has the shape \(2, 8\)"),
    ({**ITEM, "segments": MASK[..., None]}, "'segments' has the shape"),
  ],
)
def test_a_batch_that_is_none_is_refused(item, says):
  with pytest.raises(UserError, match=says) as error:
    kdjax.core.task.as_batch(TASK, item)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize(
  ("text", "says"),
  [
    ("language_model(1)", "whole number >= 2; got 1"),
    ("language_model(2.5)", "whole number >= 2; got 2.5"),
    ("language_modell(9)", "did you mean 'language_model'"),
  ],
)
def test_what_is_no_vocabulary_is_refused(text, says):
  with pytest.raises(UserError, match=says):
    tasks.make_task(text)


def test_fewer_classes_than_the_vocabulary_are_refused():
  step = kdjax.make_step(
    kdjax.objective(
      kdjax.make_method("hard", task=language_model(9)),
      NETWORK,
      language_model(9),
    ),
    optax.sgd(0.1),
  )
  with pytest.raises(
    UserError, match=r"it answers \(28, 7\), .*language_model reads 9"
  ):
    step.init(jax.random.key(0), {"logits": LOGITS}, None, ITEM)


def test_the_same_settings_are_the_same_task():
  assert tasks.make_task("language_model(7)") is TASK
  # As a report makes it anew.
  assert tasks.make_task("language_model", classes=2) is language_model()
