"""Caches of texts: a student learns from one as from the teacher itself."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kdjax
from kdjax.core.errors import StorageError, UserError
from kdjax.core.teacher import observe
from kdjax.tasks import language_model

V, D, T, N = 40, 6, 9, 6
RNG = np.random.default_rng(0)
ITEMS = {
  "tokens": RNG.integers(0, V, (N, T)).astype(np.int32),
  "counts": RNG.integers(0, 2, (N, T)).astype(bool),
}
CHUNKS, LOGITS = (language_model(V, factored_from=x) for x in (8, None))


def bigram(variables, inputs, *, train, rngs):
  states = jnp.tanh(variables["table"][inputs])
  return states @ variables["kernel"] + variables["bias"][None, None]


def capped(variables, inputs, *, train, rngs):
  return 9 * jnp.tanh(bigram(variables, inputs, train=train, rngs=rngs) / 9)


def variables_of(seed, width, wide=V):
  rng = np.random.default_rng(seed)
  return {
    name: jnp.asarray(rng.normal(size=shape), jnp.float32)
    for name, shape in (
      ("table", (V, width)), ("kernel", (width, wide)), ("bias", (wide,)),
    )
  }  # fmt: skip


NETWORK = kdjax.from_apply(bigram)
STUDENT = variables_of(0, D)
# Its head is padded beyond the vocabulary.
TEACHER = kdjax.live_teacher(NETWORK, variables_of(1, 8, V + 3))


def write(folder, teacher=TEACHER, items=ITEMS, task=CHUNKS, **options):
  options = {"batch_size": 3, **options}
  return kdjax.write_teacher_cache(folder, teacher, items, task=task, **options)


@pytest.fixture(scope="module")
def hidden(tmp_path_factory):
  return write(tmp_path_factory.mktemp("hidden") / "cache")


def loss_of(text, teacher, task=CHUNKS, item=None, student=STUDENT):
  item = ITEMS | {"index": np.arange(N)} if item is None else item
  method = kdjax.make_method(text, task=task, steps=10)
  goal = kdjax.objective(method, NETWORK, task)

  @jax.jit
  def run(student, teacher):
    params, state = goal.init(jax.random.key(0), student, teacher, item)
    return jax.value_and_grad(
      lambda params: goal.loss(
        params, state, teacher, item, step=7, key=jax.random.key(1)
      )[0]
    )(params)

  value, slope = run(student, teacher)
  return float(value), slope["network"]


METHODS = [
  "forward_kl:0.9 + ce:0.1",
  "reverse_kl(temperature=2):1",
  "generalized_jsd(beta=0.3):1",
  "kd(temperature=4):0.5 + ce:0.5",
  "dkd:1",
]


@pytest.mark.parametrize(
  "text",
  [METHODS[0], *(pytest.param(x, marks=pytest.mark.slow) for x in METHODS[1:])],
)
def test_hidden_states_are_the_teacher_itself(hidden, text):
  live, cached = (loss_of(text, one) for one in (TEACHER, hidden.teacher()))
  assert cached[0] == live[0]
  jax.tree.map(np.testing.assert_array_equal, cached[1], live[1])


def test_a_batch_finds_its_rows(hidden):
  rows = np.array([4, 1])
  item = {name: x[rows] for name, x in ITEMS.items()} | {"index": rows}
  live, cached = (
    loss_of(METHODS[0], one, item=item) for one in (TEACHER, hidden.teacher())
  )
  assert cached[0] == live[0]
  (joined,) = hidden.join(item, batch_size=2)
  states = joined["teacher_answers"]["hidden"]
  assert states.shape == (2, T, 8)
  whole, _ = hidden.read(rows)
  np.testing.assert_array_equal(states, whole["hidden"])


def test_small_vocabularies_see_the_same_logits(hidden):
  live, cached = (
    loss_of(METHODS[0], one, task=LOGITS) for one in (TEACHER, hidden.teacher())
  )
  assert cached[0] == pytest.approx(live[0], rel=1e-6)


@pytest.mark.parametrize(
  ("dtype", "rounding"),
  [
    ("float16", 2**-11),
    pytest.param("bfloat16", 2**-9, marks=pytest.mark.slow),
  ],
)
def test_half_precision_keeps_its_bound(tmp_path, dtype, rounding):
  """The bound of docs/teacher_cache.md, of the logits' largest error d."""
  cache = write(tmp_path / "cache", dtype=dtype)
  live, cached = (
    loss_of("kd(temperature=2):1", one)[0] for one in (TEACHER, cache.teacher())
  )
  batch = CHUNKS.batch(ITEMS)
  states = observe(TEACHER, batch, task=CHUNKS).answers
  kernel = np.abs(np.asarray(states.kernel, np.float64))
  errors = rounding * np.abs(np.asarray(states.hidden)) @ kernel
  d = errors.max()
  spread = np.ptp(np.asarray(states.logits()), axis=-1).max()
  student = np.asarray(NETWORK.apply(STUDENT, ITEMS["tokens"])[0]).reshape(
    -1, V
  )
  spread += np.ptp(student, axis=-1).max()
  bound = d * (spread + 2 * d) / 2
  assert 0 < abs(cached - live) <= bound
  rows = cache.read(np.arange(2))[0]["hidden"]
  assert rows.dtype == jnp.dtype(dtype)
  assert cache.nbytes == N * (8 + T * 8 * 2)


def test_the_largest_classes_and_the_rest(tmp_path):
  cache = write(tmp_path / "cache", top_k=5)
  live, cached = (
    loss_of("topk_kd(k=5):0.9 + ce:0.1", one)
    for one in (TEACHER, cache.teacher())
  )
  assert cached[0] == pytest.approx(live[0], rel=1e-6)
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6, rtol=1e-4),
    cached[1],
    live[1],
  )
  values = cache.read(np.arange(N))[0]
  mass = np.exp(values["log_probabilities"]).sum(-1) + np.exp(values["tail"])
  np.testing.assert_allclose(mass, 1, rtol=1e-5)
  assert values["indices"].max() < V


@pytest.mark.slow
def test_fewer_classes_are_among_the_largest(tmp_path):
  """And so are the logits of a small vocabulary."""
  cache = write(tmp_path / "cache", top_k=5)
  live, cached = (
    loss_of("topk_kd(k=3):1", one, task=LOGITS)[0]
    for one in (TEACHER, cache.teacher())
  )
  assert cached == pytest.approx(live, rel=1e-5)


@pytest.mark.slow
def test_the_truncated_divergence_is_never_more_than_the_whole(tmp_path):
  values = []
  for k in (1, 8, 30):
    teacher = write(tmp_path / str(k), top_k=k).teacher()
    values.append(loss_of(f"topk_kd(k={k}):1", teacher)[0])
  whole = loss_of("forward_kl:1", TEACHER)[0]
  assert values[0] >= 0
  assert [*values, whole] == sorted([*values, whole])
  assert values[-1] > 0.9 * whole


@pytest.mark.slow
def test_features_are_stored_beside(tmp_path):
  from kdjax.models import make_model

  network = kdjax.from_linen(
    make_model("gpt(width=8, depth=1, heads=2, mlp=8, positions=16)", classes=V)
  )
  variables = network.init(jax.random.key(0), ITEMS["tokens"][:1])
  teacher = kdjax.live_teacher(network, variables)
  cache = write(tmp_path / "cache", teacher, features=["stage_0"])
  answers, features = cache.read(np.arange(N))
  _, wanted, _ = network.apply(variables, ITEMS["tokens"], taps=("stage_0",))
  np.testing.assert_allclose(
    features["stage_0"], wanted["stage_0"], rtol=1e-5, atol=1e-6
  )
  assert answers["hidden"].shape == (N, T, 8)


@pytest.mark.parametrize(
  ("options", "says"),
  [
    ({"top_k": V}, "top-40 of 40 classes: keep 1 to 39"),
    ({"top_k": 0}, "top_k= takes a whole number >= 1"),
    ({"dtype": "float64"}, "float32, bfloat16; got 'float64'"),
    (
      {"teacher": kdjax.live_teacher(kdjax.from_apply(capped), STUDENT)},
      "no product of hidden states",
    ),
  ],
)
def test_what_cannot_be_kept_is_refused(tmp_path, options, says):
  with pytest.raises(UserError, match=says):
    write(tmp_path / "cache", **options)
  assert not (tmp_path / "cache" / "manifest.json").exists()


@pytest.mark.slow
def test_bounded_logits_have_largest_classes(tmp_path):
  teacher = kdjax.live_teacher(kdjax.from_apply(capped), variables_of(1, 8))
  cache = write(tmp_path / "cache", teacher, top_k=3)
  live, cached = (
    loss_of("topk_kd(k=3):1", one)[0] for one in (teacher, cache.teacher())
  )
  assert cached == pytest.approx(live, rel=1e-5)


def test_more_classes_than_are_stored_are_refused(tmp_path):
  teacher = write(tmp_path / "cache", top_k=3).teacher()
  with pytest.raises(ValueError, match="k=4, and 3 classes of the teacher"):
    loss_of("topk_kd(k=4):1", teacher)


def test_other_texts_are_refused(hidden):
  others = ITEMS | {"tokens": ITEMS["tokens"][::-1] + 1}
  with pytest.raises(UserError, match="it has no answer to row 0"):
    next(iter(hidden.join(others, batch_size=2)))


def test_damage_is_seen(tmp_path):
  folder = tmp_path / "cache"
  write(folder)
  kernel = np.load(folder / "kernel.npy")
  np.save(folder / "kernel.npy", kernel + 1)
  with pytest.raises(StorageError, match=r"kernel\.npy is damaged"):
    kdjax.TeacherCache(folder).teacher()
  manifest = json.loads((folder / "manifest.json").read_text())
  manifest["record"][-1][2] = [T, 7]
  (folder / "manifest.json").write_text(json.dumps(manifest))
  with pytest.raises(StorageError, match="a record does not have"):
    kdjax.TeacherCache(folder)
