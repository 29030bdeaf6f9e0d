"""A step over a mesh: as on one device, and cut as the rules say."""

import functools

import jax
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

import kdjax
from kdjax.core.errors import UserError
from kdjax.core.task import batch_of
from kdjax.models import make_model
from kdjax.train.make_step import Program, State

EXAMPLES, CLASSES, STEPS = 24, 4, 20
RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(size=(EXAMPLES, 6, 6, 1)).astype(np.float32)
LABELS = RNG.integers(0, CLASSES, EXAMPLES).astype(np.int32)
TASK = kdjax.tasks.classification(CLASSES)
STUDENT, BIG = (
  kdjax.from_linen(make_model(text, classes=CLASSES))
  for text in ("mlp(8, dropout=0.2)", "mlp(16, 16)")
)
TEACHER = kdjax.live_teacher(
  BIG, jax.jit(BIG.init)(jax.random.key(9), IMAGES[:1])
)
RULES = [("kernel", P(None, "model"))]
METHODS = ["kd", "fitnets:0.01 + ce", "rkd:0.01 + ce", "crd:0.1 + ce"]


def mesh(data, model):
  devices = jax.devices()[: data * model]
  return jax.make_mesh((data, model), ("data", "model"), devices=devices)


def train(
  placed, method, steps, student=STUDENT, optimizer=None, sizes=(8, 7, 7)
):
  made = kdjax.make_method(method, task=TASK, steps=STEPS, examples=EXAMPLES)
  step = kdjax.make_step(
    kdjax.objective(made, student, TASK), optimizer or optax.sgd(0.05), placed
  )
  teacher = placed.put(TEACHER)
  for number in range(steps):
    index = (np.arange(sizes[number % len(sizes)]) + 5 * number) % EXAMPLES
    batch = {"image": IMAGES[index], "label": LABELS[index]}
    batch["index"] = index.astype(np.int32)
    if not number:
      state = step.init(jax.random.key(0), None, teacher, batch)
    state, metrics = step.step(state, teacher, batch)
  return state, metrics


PLACEMENTS = {
  "pmap(2)": lambda: kdjax.pmap(jax.local_devices()[:2]),
  "sharded(data=2)": lambda: kdjax.sharded(mesh(2, 1), []),
  "sharded(data=2, model=2)": lambda: kdjax.sharded(mesh(2, 2), RULES),
}


# The first method everywhere, and the others where most can differ.
@pytest.mark.parametrize(
  ("name", "method"),
  [
    *((name, METHODS[0]) for name in PLACEMENTS),
    *(([*PLACEMENTS][-1], method) for method in METHODS[1:]),
  ],
)
@pytest.mark.slow
def test_placements_agree_after_many_steps(name, method):
  one, want = train(kdjax.jit(), method, STEPS)
  other, got = train(PLACEMENTS[name](), method, STEPS)
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5),
    one.params,
    other.params,
  )
  for key, (total, count) in want.items():
    assert float(total / count) == pytest.approx(
      float(got[key][0] / got[key][1]), rel=1e-4, abs=1e-5
    )


MOMENTUM = optax.sgd(0.05, momentum=0.9)
TOGETHER = "fitnets:0.01 + crd:0.1 + ce"


@functools.cache
def on_a_mesh(method):
  """The placement, and the state after two steps there."""
  placed = kdjax.sharded(mesh(2, 2), RULES)
  state, _ = train(placed, method, 2, optimizer=MOMENTUM, sizes=(7,))
  return placed, state


@pytest.mark.parametrize(
  "method",
  [
    TOGETHER,
    pytest.param("fitnets:0.01 + ce", marks=pytest.mark.slow),
    pytest.param("crd:0.1 + ce", marks=pytest.mark.slow),
  ],
)
def test_a_mesh_takes_the_same_steps(method):
  # One size, which is filled up on the mesh: each program is compiled once.
  one, _ = train(kdjax.jit(), method, 2, optimizer=MOMENTUM, sizes=(7,))
  _, other = on_a_mesh(method)
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5),
    one.params,
    other.params,
  )


@pytest.mark.parametrize(("couples", "examples"), [(True, 3), (False, -1)])
def test_a_method_that_relates_examples_is_told_how_many_count(
  couples, examples
):
  def step(state, teacher, batch, axis_name, examples=None):
    count = -1 if examples is None else examples
    return state, {"rows": len(batch.index), "examples": count}

  program = Program(None, step, batch_of, 1, couples)
  _, step = kdjax.sharded(mesh(2, 1), []).compile(program)
  state = State({}, (), (), np.zeros(()), np.zeros(2))
  _, metrics = step(state, None, np.zeros((3, 5), np.float32))
  assert metrics == {"rows": 4, "examples": examples}


def bytes_on_a_device(tree):
  return sum(
    x.addressable_shards[0].data.nbytes
    for x in jax.tree.leaves(tree)
    if x.ndim > 1 and not jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
  )


def test_arrays_lie_as_the_rules_say():
  placed, state = on_a_mesh(TOGETHER)
  teacher = placed.put(TEACHER)
  for tree in (state.params, state.opt_state, teacher.arrays):
    whole = sum(x.nbytes for x in jax.tree.leaves(tree) if x.ndim > 1)
    assert bytes_on_a_device(tree) == whole / 2
  memory = jax.tree.leaves(state.state)
  assert memory and all(x.sharding.is_fully_replicated for x in memory)


@pytest.mark.parametrize(
  ("rules", "words"),
  [
    ([("stge_0/kernel", P(None, "model"))], "matches no parameter.*stage_0"),
    ([("kernel", P(None, "modl"))], "no axis 'modl'; it has data, model"),
    ([("bias", P(None, "model"))], "cuts 2 axes.*bias"),
    ([("head/kernel", P(None, ("data", "model")))], r"\(16, 4\), into 8"),
    ([("(", P())], "no regular expression"),
    ([("kernel", "model")], "a rule is a pair.*'model'"),
    (["kernel"], "a rule is a pair.*'kernel'"),
    ([("kernel", P("model", "model"))], "the mesh's axis 'model' twice"),
  ],
)
def test_rules_that_do_not_fit_are_refused(rules, words):
  with pytest.raises(UserError, match=words):
    train(kdjax.sharded(mesh(2, 4), rules), "kd", 1)


def test_an_ensemble_and_bare_parameters_are_cut_alike():
  placed = kdjax.sharded(mesh(2, 2), RULES)
  both = kdjax.ensemble(
    [
      kdjax.live_teacher(BIG, jax.jit(BIG.init)(jax.random.key(n), IMAGES[:1]))
      for n in range(2)
    ]
  )
  stacked = placed.put(both).arrays[0]["params"]["head"]["kernel"]
  assert stacked.sharding.spec == P(None, None, "model")
  bare = placed.put(TEACHER.arrays["params"])["head"]["kernel"]
  assert bare.sharding.spec == P(None, "model")


def test_a_state_goes_on_on_another_mesh():
  method = "fitnets:0.01 + ce"
  made = kdjax.make_method(method, task=TASK, steps=STEPS)
  goal = kdjax.objective(made, STUDENT, TASK)
  batch = {"image": IMAGES, "label": LABELS}
  first, second = (
    kdjax.sharded(mesh(*shape), RULES) for shape in ((2, 2), (1, 4))
  )
  start = kdjax.make_step(goal, optax.adam(0.01), first)
  state = start.init(jax.random.key(0), None, TEACHER, batch)
  state, _ = start.step(state, TEACHER, batch)

  def on_the_host(x):
    if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
      return jax.random.wrap_key_data(np.asarray(jax.random.key_data(x)))
    return np.asarray(x)

  kept = jax.tree.map(on_the_host, state)
  want, _ = start.step(state, TEACHER, batch)
  again = kdjax.make_step(goal, optax.adam(0.01), second)
  got, _ = again.step(second.put(kept), TEACHER, batch)
  kernel = got.params["network"]["head"]["kernel"]
  assert kernel.addressable_shards[0].data.shape == (8, 1)
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5),
    want.params,
    got.params,
  )


VOCABULARY, LENGTH = 32, 8
TEXTS = RNG.integers(0, VOCABULARY, (4, 4, LENGTH)).astype(np.int32)


def decoder(width, depth):
  text = (
    f"gpt(width={width}, depth={depth}, heads=4, positions={LENGTH}, dropout=0)"
  )
  return kdjax.from_linen(make_model(text, classes=VOCABULARY))


# Every matrix of the decoders of kdjax, in four along an axis that four divides.
IN_FOUR = [
  ("(query|key|value)/kernel", P(None, "model")),
  ("out/kernel", P("model")),
  ("dense_0/kernel", P(None, "model")),
  ("dense_1/kernel", P("model")),
  ("embedding", P(None, "model")),
]


@pytest.mark.slow
def test_a_teacher_of_four_shares_teaches_a_student_that_is_whole():
  task = kdjax.tasks.language_model(VOCABULARY)
  small, big = decoder(8, 1), decoder(32, 2)
  tokens = {"tokens": TEXTS[0]}
  known = kdjax.live_teacher(big, jax.jit(big.init)(jax.random.key(1), tokens))
  method = kdjax.make_method("forward_kl:0.5 + ce:0.5", task=task)
  goal = kdjax.objective(method, small, task)
  # The teacher lies as its own rules say; the step has none.
  cut = kdjax.sharded(mesh(2, 4), IN_FOUR).put(known)
  whole = sum(x.nbytes for x in jax.tree.leaves(known) if x.ndim > 1)
  assert bytes_on_a_device(cut) == pytest.approx(whole / 4, rel=0.1)
  ends = []
  for placed, teacher in (
    (kdjax.jit(), known),
    (kdjax.sharded(mesh(2, 4), []), cut),
  ):
    step = kdjax.make_step(goal, optax.sgd(0.1), placed)
    state = step.init(jax.random.key(0), None, teacher, tokens)
    for batch in TEXTS:
      state, _ = step.step(state, teacher, {"tokens": batch})
    done = kdjax.distill(
      small, teacher, [{"tokens": batch} for batch in TEXTS], method=method,
      task=task, optimizer=optax.sgd(0.1), epochs=1, key=jax.random.key(0),
      placement=placed, progress=False,
    )  # fmt: skip
    ends += [state.params["network"], done.variables["params"]]
  for end in ends[1:]:
    jax.tree.map(
      lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5),
      ends[0],
      end,
    )
  for x in jax.tree.leaves(ends[2]):
    assert x.sharding.is_fully_replicated


@pytest.mark.slow
def test_a_teacher_that_lies_on_the_mesh_is_left_where_it_is(monkeypatch):
  method = kdjax.make_method("kd", task=TASK)
  cut = kdjax.sharded(mesh(1, 2), RULES).put(TEACHER)
  placed = kdjax.sharded(mesh(1, 2), [])
  moved = []
  put = jax.device_put

  def watched(x, *args, **kwargs):
    moved.extend(jax.tree.leaves(x))
    return put(x, *args, **kwargs)

  monkeypatch.setattr(jax, "device_put", watched)
  kdjax.distill(
    STUDENT, cut, [{"image": IMAGES, "label": LABELS}], method=method,
    task=TASK, optimizer=optax.sgd(0.1), epochs=1, key=jax.random.key(0),
    placement=placed, progress=False,
  )  # fmt: skip
  teachers = {id(x) for x in jax.tree.leaves(cut)}
  assert moved and not any(id(x) in teachers for x in moved)
