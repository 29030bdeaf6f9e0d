"""A step for any loop: the same on every placement, with every optimiser."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special

import kdjax
from kdjax.core.errors import UserError
from kdjax.core.teacher import observe, teacher_head
from kdjax.models import make_model
from kdjax.train.optimizer import make_optimizer
from kdjax.train.state import create_state
from kdjax.train.step import take_step

EXAMPLES, CLASSES = 22, 4
RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(size=(EXAMPLES, 6, 6, 1)).astype(np.float32)
LABELS = RNG.integers(0, CLASSES, EXAMPLES).astype(np.int32)
LABELS[3] = -1  # not known
TASK = kdjax.tasks.classification(CLASSES)
STUDENT, BIG = (
  kdjax.from_linen(make_model(text, classes=CLASSES))
  for text in ("mlp(8, dropout=0.2)", "mlp(12)")
)
TEACHER = kdjax.live_teacher(
  BIG, jax.jit(BIG.init)(jax.random.key(9), IMAGES[:1])
)
# One of each kind: response, feature with a regressor, relation of the examples
# of a batch, memory, which has learned embeddings as well.
METHODS = ["kd", "fitnets:0.01 + ce", "rkd:0.01 + ce", "crd:0.1 + ce"]
TOGETHER = "kd:0.9 + ce:0.1 + crd:0.1"
RAGGED = (7, 7, 5)
# What has most, compiled for one size of batches; each kind by itself with a
# ragged batch takes several times as long.
CASES = [
  (TOGETHER, (7,)),
  *(pytest.param(x, RAGGED, marks=pytest.mark.slow) for x in METHODS),
]


def goal(method="kd", student=STUDENT):
  made = kdjax.make_method(method, task=TASK, steps=20, examples=EXAMPLES)
  return kdjax.objective(made, student, TASK)


def batch(number, size=7):
  index = (np.arange(size) + 5 * number) % EXAMPLES
  return {
    "image": IMAGES[index],
    "label": LABELS[index],
    "index": index.astype(np.int32),
    "name": "what is no array of numbers is left out",
  }


def run(step, teacher=TEACHER, steps=3, sizes=RAGGED):
  state = step.init(jax.random.key(0), None, teacher, batch(0))
  for number in range(steps):
    now = batch(number, sizes[number % len(sizes)])
    state, metrics = step.step(state, teacher, now)
  return state, metrics


@functools.cache
def answer(network):
  return jax.jit(lambda variables, images: network.apply(variables, images)[0])


@functools.cache
def plain(method="kd", sizes=RAGGED, steps=3):
  """What others are compared with: plain descent on one device."""
  return run(plain_step(method), steps=steps, sizes=sizes)


@functools.cache
def plain_step(method="kd"):
  return kdjax.make_step(goal(method), optax.sgd(0.1))


def assert_close(one, other, within=1e-5):
  def close(x, y):
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
      x, y = jax.random.key_data(x), jax.random.key_data(y)
    np.testing.assert_allclose(x, y, rtol=within, atol=within)

  jax.tree.map(close, one, other)


def means(metrics):
  return {name: total / count for name, (total, count) in metrics.items()}


@pytest.mark.parametrize(("method", "sizes"), CASES)
def test_a_step_is_the_runners_and_that_of_a_loop_by_hand(method, sizes):
  objective, tx = goal(method), optax.sgd(0.1)
  by_step, metrics = plain(method, sizes)

  @jax.jit
  def update(params, opt, state, batch, n):
    slope = jax.value_and_grad(objective.loss, has_aux=True)
    (loss, (state, metrics)), grads = slope(
      params, state, TEACHER, batch, step=n,
      key=jax.random.fold_in(jax.random.key(0), n),
    )  # fmt: skip
    updates, opt = tx.update(grads, opt, params)
    return optax.apply_updates(params, updates), opt, state, (loss, metrics)

  shown = {name: x for name, x in batch(0).items() if name != "name"}
  params, state = jax.jit(objective.init)(
    jax.random.key(0), None, TEACHER, shown
  )
  opt = tx.init(params)
  create = functools.partial(
    create_state,
    make_model("mlp(8, dropout=0.2)", classes=CLASSES),
    objective.method,
    make_optimizer("sgd", "constant", 20),
    task=TASK,
  )
  runner = jax.jit(
    lambda teacher: create(
      rng=jax.random.key(0),
      inputs=IMAGES[:1],
      teacher=observe(teacher, TASK.sample(IMAGES[:1]), ("*", "head:in")),
      learning_rate=0.1,
      head=teacher_head(teacher),
    )
  )(TEACHER)

  @jax.jit
  def take(runner, shown):
    shown = TASK.batch(shown)
    taps = objective.method.teacher_taps
    return take_step(
      runner,
      objective.method,
      shown,
      observe(TEACHER, shown, taps, step=runner.step, task=TASK),
      rng=jax.random.fold_in(jax.random.key(0), runner.step),
      head=teacher_head(TEACHER),
    )[0]

  for n in range(3):
    size = sizes[n % len(sizes)]
    shown = {name: x for name, x in batch(n, size).items() if name != "name"}
    params, opt, state, (loss, sums) = update(params, opt, state, shown, n)
    runner = take(runner, shown)
  assert_close(params, by_step.params, 1e-6)
  assert_close(state, by_step.state, 1e-6)
  assert_close(runner.params, by_step.params, 1e-6)
  assert float(loss) == pytest.approx(
    float(sums["loss"][0] / sums["loss"][1]), rel=1e-5
  )
  assert_close(sums, metrics)


@pytest.mark.parametrize(("method", "sizes"), CASES)
def test_devices_do_not_change_a_training(method, sizes):
  one = plain(method, sizes)
  placed = kdjax.pmap(jax.local_devices()[:2])
  step = kdjax.make_step(goal(method), optax.sgd(0.1), placed)
  several = run(step, placed.put(TEACHER), sizes=sizes)
  assert_close(one[0].params, several[0].params)
  assert_close(one[0].state, several[0].state)
  assert_close(means(one[1]), means(several[1]))


def by_layer(params):
  return jax.tree_util.tree_map_with_path(
    lambda path, _: "first" if "stage_0" in str(path) else "rest", params
  )


OPTIMIZERS = {
  "adamw": optax.adamw(1e-2),
  "multi_transform": optax.multi_transform(
    {"first": optax.sgd(0.1), "rest": optax.adam(1e-2)}, by_layer
  ),
  "MultiSteps": optax.MultiSteps(optax.sgd(0.1), every_k_schedule=2),
  "schedule_free": optax.contrib.schedule_free_sgd(0.1),
  "apply_if_finite": optax.apply_if_finite(optax.sgd(0.1), 3),
  "masked": optax.masked(
    optax.sgd(0.1), lambda tree: jax.tree.map(lambda x: x.ndim > 1, tree)
  ),
  "inject_hyperparams": optax.inject_hyperparams(optax.sgd)(
    optax.linear_schedule(0.1, 0.0, 9)
  ),
  "chain": optax.chain(optax.clip_by_global_norm(1.0), optax.lion(1e-3)),
}


# Their states are made otherwise than those of the others: labels for parts of
# the parameters, a step in several calls, two sets of parameters, a rate.
QUICK = {"multi_transform", "MultiSteps", "schedule_free", "inject_hyperparams"}


@pytest.mark.parametrize(
  "name",
  [
    name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
    for name in OPTIMIZERS
  ],
)
def test_any_optimizer_learns(name):
  step = kdjax.make_step(goal("ce"), OPTIMIZERS[name])
  first = step.init(jax.random.key(0), None, TEACHER, batch(0))
  before = jax.device_get(first.params)
  state, _ = run(step, sizes=(7,))
  moved = jax.tree.map(
    lambda x, y: not np.array_equal(x, y), before, jax.device_get(state.params)
  )
  assert moved["network"]["head"]["kernel"]
  outputs, _, _ = STUDENT.apply(step.variables(state), IMAGES)
  assert outputs.shape == (EXAMPLES, CLASSES) and np.isfinite(outputs).all()
  # A schedule-free optimiser is used at its average, not where it looks.
  same = (
    step.variables(state)["params"]["head"]["kernel"]
    is (state.params["network"]["head"]["kernel"])
  )
  assert same == (name != "schedule_free")


def test_pieces_make_the_same_step_and_fill_up_what_cannot_be_cut():
  whole = plain(sizes=(7,))
  step = kdjax.make_step(goal(), optax.sgd(0.1), pieces=3)
  pieces = run(step, sizes=(7,))
  assert_close(whole[0].params, pieces[0].params)
  assert_close(whole[1], pieces[1])


def test_average_follows_the_student():
  one = plain(sizes=(7,), steps=1)[0]
  step = kdjax.make_step(goal(), optax.sgd(0.1), average=0.99)
  start = jax.device_get(
    step.init(jax.random.key(0), None, TEACHER, batch(0)).params
  )
  state, _ = run(step, steps=1)
  assert_close(state.params, one.params, 0)
  want = jax.tree.map(
    lambda x, y: (x + y) / 2, start["network"], one.params["network"]
  )
  assert_close(step.variables(state)["params"], want, 1e-6)


def test_bfloat16_is_near_and_leaves_parameters_wide():
  state, _ = plain(sizes=(7,))
  step = kdjax.make_step(goal(), optax.sgd(0.1), dtype="bfloat16")
  narrow, _ = run(step, sizes=(7,))
  assert {x.dtype.name for x in jax.tree.leaves(narrow.params)} == {"float32"}
  assert_close(narrow.params, state.params, 1e-2)
  gap = jax.tree.map(
    lambda x, y: np.abs(x - y).max(), state.params, narrow.params
  )
  assert max(jax.tree.leaves(gap)) > 0
  kept = kdjax.live_teacher(BIG, TEACHER.arrays, dtype=jnp.bfloat16).arrays
  assert kept["params"]["stage_0"]["dense"]["kernel"].dtype == jnp.bfloat16
  assert kept["params"]["head"]["kernel"].dtype == jnp.float32


def test_a_teacher_may_see_something_else():
  other = 1 - IMAGES
  seen = {**batch(0), "teacher_inputs": other[batch(0)["index"]]}
  table = answer(BIG)(TEACHER.arrays, other)
  stored = kdjax.stored_teacher(table)
  found = []
  for teacher, shown in ((TEACHER, seen), (stored, batch(0))):
    step = plain_step()
    state = step.init(jax.random.key(0), None, teacher, shown)
    found.append(step.step(state, teacher, shown)[0].params)
  assert_close(*found, 1e-6)


def test_several_teachers_are_one():
  begin = jax.jit(BIG.init)
  teachers = [
    kdjax.live_teacher(BIG, begin(jax.random.key(n), IMAGES[:1]))
    for n in range(2)
  ]
  both = kdjax.ensemble(teachers)
  tables = [answer(BIG)(one.arrays, IMAGES) for one in teachers]
  mean = np.log(np.mean([scipy.special.softmax(x, 1) for x in tables], axis=0))
  stored = run(
    plain_step(), kdjax.stored_teacher(jnp.asarray(mean)), sizes=(7,)
  )
  others = run(plain_step(), both, sizes=(7,))
  assert_close(others[0].params, stored[0].params)


def test_nothing_of_the_caller_is_used_up():
  start = jax.jit(STUDENT.init)(jax.random.key(3), IMAGES[:1])
  key = jax.random.key(0)
  step = kdjax.make_step(goal("hard"), optax.sgd(0.1), average=0.9)
  state = step.init(key, start, None, batch(0))
  step.step(state, None, batch(0))
  jax.random.normal(key)
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(start))


def test_a_step_is_traced_once():
  traces = []

  def counted(variables, inputs, **options):
    traces.append(options.get("train", False))
    return STUDENT.apply(variables, inputs, **options)

  student = STUDENT._replace(apply=counted)
  run(kdjax.make_step(goal("kd", student), optax.adam(0.1)), sizes=(7,))
  assert traces.count(True) == 1


@pytest.mark.parametrize(
  ("call", "words"),
  [
    (lambda: kdjax.make_step(goal(), optax.sgd(1), pieces=0), "pieces"),
    (lambda: kdjax.make_step(goal(), optax.sgd(1), average=1.0), "average"),
    (lambda: kdjax.make_method("crd"), "examples="),
    (lambda: kdjax.make_method("kd:linear(0, 1)"), "steps="),
    (lambda: kdjax.make_method("kdd", steps=3), "'kd'"),
    (
      lambda: run(kdjax.make_step(goal(), optax.sgd(1)), teacher=None),
      "teacher",
    ),
    (
      lambda: kdjax.make_step(goal("hard"), optax.sgd(1)).init(
        jax.random.key(0), None, None, {"images": IMAGES}
      ),
      "no entry 'image'",
    ),
  ],
)
def test_mistakes_are_told_in_one_line(call, words):
  with pytest.raises(UserError, match=words) as error:
    call()
  assert "\n" not in str(error.value)
