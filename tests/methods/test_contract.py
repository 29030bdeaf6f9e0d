"""The contract of every registered method, on pairs of real networks.

A new method is covered by being registered. The fast tests take the first pair
that a method can be used with, of each kind of method; the slow ones one of each
kind of features.
"""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import (
  BATCH,
  CLASSES,
  EXAMPLES,
  PAIRS,
  STEPS,
  make_method,
  pairs_for,
  seen_by,
)

from kdjax.core.errors import UserError
from kdjax.core.method import Inputs
from kdjax.core.task import KINDS
from kdjax.methods import FAMILIES, MAKERS, make_objective, terms_of
from kdjax.methods.registry import OBJECTIVES, READS
from kdjax.taps.network import from_linen
from kdjax.train.forward import gather
from kdjax.train.optimizer import make_optimizer, with_learning_rate
from kdjax.train.state import TrainState, descend

NAMES = sorted(MAKERS)

# How far a gradient may be from the slope in float32.
SLOPE = 3e-2
# Their losses hold a part of the student constant, by definition.
HELD_CONSTANT = {"wsld", "cs_kd", "byot"}
# They read any answers as numbers, or leave them to the task's own loss.
ANY_ANSWERS = {"ce", "logit_mse"}
# They read the classes of the classifiers' parameters.
CLASSIFIERS = {"cat_kd", "l2d"}
# All of them move a parameter that has no gradient.
OPTIMIZERS = ("sgd(momentum=0.9, weight_decay=0.1)", "adamw(weight_decay=0.1)")


def started(name, inputs):
  """The method with parameters and state, not the ones that it starts from."""
  method = make_method(name)
  params, state = jax.eval_shape(method.init, jax.random.key(0), inputs)
  if jax.tree.leaves((params, state)):
    params, state = jax.jit(method.init)(jax.random.key(0), inputs)
  rng = np.random.default_rng(0)
  params = jax.tree.map(
    lambda x: x + (0.05 * rng.normal(size=x.shape)).astype(x.dtype),
    jax.device_get(params),
  )
  return method, params, state


def of_student(inputs):
  """What a gradient can flow into."""
  return (
    inputs.student.answers,
    dict(inputs.student.feats),
    inputs.student_head,
  )


def of_teacher(inputs):
  return inputs.teacher.answers, dict(inputs.teacher.feats), inputs.head


def with_student(inputs: Inputs, values):
  logits, feats, head = values
  student = inputs.student._replace(answers=logits, feats=feats)
  return inputs._replace(student=student, student_head=head)


def with_teacher(inputs: Inputs, values):
  logits, feats, head = values
  teacher = inputs.teacher._replace(answers=logits, feats=feats)
  return inputs._replace(teacher=teacher, head=head)


def relevant(method, inputs):
  """The inputs with no other features than those that the method asks for."""
  from kdjax.taps.grammar import covers, parse_tap

  def kept(outputs, patterns):
    patterns = [parse_tap(pattern) for pattern in patterns]
    feats = {
      tap: value
      for tap, value in outputs.feats.items()
      if any(covers(pattern, parse_tap(tap)) for pattern in patterns)
    }
    return outputs._replace(feats=feats)

  return inputs._replace(
    student=kept(inputs.student, method.student_taps),
    teacher=kept(inputs.teacher, method.teacher_taps),
  )


def numbers(tree):
  """A tree with the numbers of its PRNG keys."""
  return jax.tree.map(
    lambda x: (
      jax.random.key_data(x)
      if jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
      else x
    ),
    tree,
  )


def check_everything(name, pair):
  inputs, no_labels = seen_by(name, pair)
  inputs = relevant(make_method(name), inputs)
  method, params, state = started(name, inputs)
  rng = np.random.default_rng(1)

  traces = []

  @jax.jit
  def step(params, state, student, teacher, inputs):
    traces.append(name)

    def loss(params, student, teacher):
      seen = with_teacher(with_student(inputs, student), teacher)
      value, new, metrics = method.apply(params, state, seen)
      return value, (new, metrics)

    return jax.value_and_grad(loss, (0, 1, 2), has_aux=True)(
      params, student, teacher
    )

  student, teacher = of_student(inputs), of_teacher(inputs)
  (loss, (new, metrics)), grads = step(params, state, student, teacher, inputs)
  # In numpy from here: what is done once would be compiled for each shape.
  grads = jax.device_get(grads)

  # a finite float32 scalar, and metrics as (sum, count)
  assert loss.shape == () and loss.dtype == jnp.float32 and np.isfinite(loss)
  chex.assert_trees_all_equal_shapes_and_dtypes(new, state)
  for total, count in metrics.values():
    assert jnp.shape(total) == jnp.shape(count) == ()

  # the gradient reaches the student and never the teacher
  chex.assert_tree_all_finite(grads)
  sizes = [np.abs(leaf).max() for leaf in jax.tree.leaves(grads[1])]
  assert max(sizes) > 0, "no gradient reaches the student"
  assert not any(np.any(leaf) for leaf in jax.tree.leaves(grads[2]))

  # what gets no gradient by design is frozen, early in the training and late
  slopes = {}
  for now in (1, STEPS // 2, STEPS - 1):
    seen = inputs._replace(step=jnp.int32(now))
    slope = step(params, new, student, teacher, seen)[1]
    own, (*_, head), _ = jax.device_get(slope)
    slopes[now] = {"method": own, "network": {"head": head}}
  start = {"method": params, "network": {"head": inputs.student_head}}
  check_frozen(method, start, slopes)

  # a label that is none of the classes is no label
  def labelled(first):
    labels = np.array(inputs.labels)
    labels[:4] = first
    now = inputs._replace(labels=labels)
    return step(params, state, student, teacher, now)

  found = [labelled(first) for first in (no_labels[1], no_labels)]
  chex.assert_trees_all_equal(*map(numbers, found))
  chex.assert_tree_all_finite(found[0][1])

  # what 2 devices see is what 1 device sees; padding does not count
  if not method.couples_batch:  # or the step gathers the batch: test_steps.py
    check_shards(
      lambda inputs: step(
        params, state, of_student(inputs), of_teacher(inputs), inputs
      )[0],
      inputs,
    )

  # a second step compiles nothing
  assert len(traces) == 1

  # The gradient is the slope along a random direction that leans uphill: along
  # one that does not, a kink of the loss outweighs what float32 leaves of it.
  def unit(tree):
    norm = np.sqrt(sum(np.vdot(x, x) for x in jax.tree.leaves(tree)))
    return jax.tree.map(lambda x: x / norm, tree)

  student = jax.device_get(student)
  noise = jax.tree.map(
    lambda x: rng.normal(size=x.shape).astype(x.dtype), student
  )
  direction = jax.tree.map(np.add, unit(grads[1]), unit(noise))

  def along(t):
    moved = jax.tree.map(
      lambda x, d: (x + t * d).astype(x.dtype), student, direction
    )
    return float(step(params, state, moved, teacher, inputs)[0][0])

  slope = sum(
    float(np.vdot(g, d))
    for g, d in zip(
      jax.tree.leaves(grads[1]), jax.tree.leaves(direction), strict=True
    )
  )
  scale = abs(slope) + 1e-4 * abs(float(loss)) + 1e-7
  off = min(
    abs((along(t) - along(-t)) / (2 * t) - slope) / scale
    for t in (1e-1, 3e-2, 1e-2, 3e-3, 1e-3)
  )
  if name not in HELD_CONSTANT:
    assert off < SLOPE, f"slope {slope}, off by {off}"


def check_shards(apply, inputs):
  """As padded batches, which a device's share is one of: a single program."""

  def of_rows(rows):
    """The inputs of these rows; nothing but arrays that have rows changes."""
    alone = jax.tree.map(
      lambda x: np.asarray(x)[rows] if x.ndim else x,
      inputs._replace(head=None, student_head=None),
    )
    return alone._replace(head=inputs.head, student_head=inputs.student_head)

  first = np.arange(BATCH) < BATCH // 2
  whole, (kept, _) = apply(inputs)
  (one, (new, _)), (two, _) = (
    apply(inputs._replace(mask=mask)) for mask in (first, ~first)
  )
  mean = (float(one) + float(two)) / 2
  assert mean == pytest.approx(float(whole), rel=1e-4, abs=1e-6)
  # What is remembered may not depend on a device's share of the batch.
  chex.assert_trees_all_close(numbers(kept), numbers(new))
  # Whatever is in the padding, it counts for nothing.
  rows = np.where(first, np.arange(BATCH), 0)
  other, (new, _) = apply(of_rows(rows)._replace(mask=first))
  assert float(other) == pytest.approx(float(one), rel=1e-4, abs=1e-6)
  chex.assert_trees_all_close(numbers(kept), numbers(new))


# Its classifier is "head", as that of `check_frozen`'s parameters.
STUDENT = from_linen(nn.Dense(1))


def check_frozen(method, params, slopes):
  """What has no gradient by design stays, bit for bit, whatever the optimiser."""
  silent = {
    now: jax.tree.map(lambda x: x.size > 0 and not np.any(x), found)
    for now, found in slopes.items()
  }
  if method.frozen is None:
    assert not any(
      jax.tree.leaves([found["method"] for found in silent.values()])
    )
    return

  @jax.jit
  def move(state, slopes, now):
    return descend(state, slopes, method.frozen(now))

  for optimizer in OPTIMIZERS:
    rule = make_optimizer(optimizer, "constant", 9)
    rates = jax.jit(
      lambda params, rule=rule: with_learning_rate(rule.init(params), 0.1)
    )(params)
    state = TrainState(jnp.int32(0), params, rates, network=STUDENT, tx=rule)
    for now, found in slopes.items():
      moved = move(state, found, now)
      stays = jax.tree.map(np.array_equal, state.params, moved.params)
      assert stays["method"] == silent[now]["method"]
      if method.frozen(now).get("classifier"):
        assert all(jax.tree.leaves((stays["network"], silent[now]["network"])))
      state = moved


# Of a kind that another method stands for: they have nothing of their own that
# the contract is about, and their values are checked by hand in the fast suite.
SLOW = {
  # Of the teacher's and student's answers, as kd, divergence and noisy_teacher.
  *(
    "binary_kd",
    "gaussian_kl",
    "dist",
    "logit_standardization",
    "mlkd",
    "topk_kd",
    "ttm",
  ),
  "uld",
  # Of the labels too, as dkd and ce.
  *("nkd", "wsld", "confidence_penalty", "tf_kd"),
  # Of pairs of stages, as fitnets, vid, ab and adaptive_features.
  *("attention_transfer", "cwd", "fsp", "kdsvd", "nst", "pairwise"),
  # Of the examples of a batch, as rkd and cc.
  *("pkt", "relation_matrix", "sp"),
  # Of attention layers and tokens, as minilm, attention_maps and vitkd.
  *("minilmv2", "patient_kd", "tinybert"),
}


@pytest.mark.parametrize(
  "name",
  [
    pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW))
    for name in NAMES
  ],
)
def test_can_be_used_and_keeps_the_contract(name):
  pair = next(pairs_for(name), None)
  assert pair, f"{name} fits none of {list(PAIRS)}"
  check_everything(name, pair)


def kind_of(name, pair):
  """How many features of how many axes it sees; the rest of a pair is sizes."""
  inputs = relevant(make_method(name), seen_by(name, pair)[0])
  return [
    sorted(x.ndim for x in jax.tree.leaves(dict(outputs.feats)))
    for outputs in (inputs.student, inputs.teacher)
  ]


# What reads no features sees the same of every pair.
@pytest.mark.slow
@pytest.mark.parametrize(
  "name", [x for x in NAMES if make_method(x).student_taps]
)
def test_keeps_the_contract_on_every_kind_of_pair(name):
  first, *others = pairs_for(name)
  kinds = [kind_of(name, first)]
  for pair in others:
    if (kind := kind_of(name, pair)) not in kinds:
      kinds.append(kind)
      check_everything(name, pair)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_low_precision_inputs(name):
  inputs = relevant(make_method(name), seen_by(name, next(pairs_for(name)))[0])
  method, params, state = started(name, inputs)
  low = jax.tree.map(
    lambda x: (
      x.astype(jnp.bfloat16) if jnp.issubdtype(x.dtype, jnp.floating) else x
    ),
    inputs,
  )
  apply = jax.jit(lambda inputs: method.apply(params, state, inputs)[0])
  assert apply(low).dtype == jnp.float32
  assert float(apply(low)) == pytest.approx(
    float(apply(inputs)), rel=0.1, abs=1e-3
  )


@pytest.mark.parametrize("name", NAMES)
def test_says_whether_it_needs_a_teacher(name):
  inputs, _ = seen_by(name, next(pairs_for(name)))
  alone = inputs._replace(teacher=None, head=None)
  method = make_method(name)

  def start(rng):
    params, state = method.init(rng, alone)
    return method.apply(params, state, alone)

  try:
    jax.eval_shape(start, jax.random.key(0))
  except (AttributeError, UserError):
    assert method.needs_teacher
  else:
    assert not method.needs_teacher


@pytest.mark.parametrize("name", NAMES)
def test_what_reads_features_alone_reads_all_kinds_of_answers(name):
  inputs, _ = seen_by(name, next(pairs_for(name)))
  blind = inputs._replace(
    student=inputs.student._replace(answers=None),
    teacher=inputs.teacher._replace(answers=None),
    labels=None,
  )
  method = make_method(name)

  def run(key):
    params, state = method.init(key, inputs)
    return method.apply(params, state, blind)

  try:
    jax.eval_shape(run, jax.random.key(0))
    alone = name not in CLASSIFIERS
  except (AttributeError, TypeError, ValueError):
    alone = False
  assert alone or name in ANY_ANSWERS or READS[name] != KINDS
  assert not alone or READS[name] == KINDS


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_one_device_is_two(name):
  """Value, gradient and memory of a sharded step, as training takes it."""
  inputs = relevant(make_method(name), seen_by(name, next(pairs_for(name)))[0])
  method, params, state = started(name, inputs)
  shared = {"step": inputs.step, "head": inputs.head}
  shared["student_head"] = inputs.student_head
  alone = inputs._replace(**dict.fromkeys(shared))

  def value(params, state, inputs, axis_name=None):
    weight = 1.0 if axis_name is None else 0.5
    if method.couples_batch and axis_name is not None:
      inputs = gather(inputs, axis_name)
    loss, state, _ = method.apply(params, state, inputs)
    return weight * loss, state

  def sharded(params, state, inputs):
    inputs = inputs._replace(**shared)
    (loss, new), grads = jax.value_and_grad(value, has_aux=True)(
      params, state, inputs, "devices"
    )
    return jax.lax.psum((loss, grads), "devices"), new

  cut = jax.tree.map(lambda x: x.reshape(2, -1, *x.shape[1:]), alone)
  mapped = jax.pmap(
    sharded, "devices", in_axes=(None, None, 0), out_axes=(None, None),
    devices=jax.local_devices()[:2],
  )  # fmt: skip
  (loss, grads), new = mapped(params, state, cut)
  (want, kept), slopes = jax.jit(jax.value_and_grad(value, has_aux=True))(
    params, state, inputs
  )
  assert float(loss) == pytest.approx(float(want), rel=1e-4, abs=1e-6)
  chex.assert_trees_all_close(grads, slopes, rtol=1e-3, atol=1e-5)
  chex.assert_trees_all_close(numbers(new), numbers(kept), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_documented(name):
  text = " ".join(MAKERS[name].__doc__.split())
  for part in (
    "loss", "Matched:", "Learned:", "Default taps:", "Cost:", "Returns:",
    "Example:", "Source:",
  ):  # fmt: skip
    assert part in text, f"{name}: {part} is missing"


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_published_objective(name):
  terms = [term.spec.name for term in terms_of(name)]
  assert name in terms
  method = make_objective(
    name, steps=STEPS, examples=EXAMPLES, classes=CLASSES, temperature=4.0
  )
  assert method.student_taps or name in terms


def test_families_stand_for_methods():
  assert set(FAMILIES) == {"response", "feature", "relation", "attention"}
  assert set(FAMILIES.values()) <= set(MAKERS)
