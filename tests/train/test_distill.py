"""A student of one's own in one call: it learns, stops, and goes on as it was."""

import contextlib

import flax.linen as nn
import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import kdjax
from kdjax.core.errors import DivergedError, UserError
from kdjax.core.storage import digest

RNG = np.random.default_rng(0)
CLASSES, WORDS = 3, 40


class Encoder(nn.Module):
  """Nothing of kdjax in it, called in a way of its own."""

  width: int

  @nn.compact
  def __call__(self, tokens, mask, deterministic=True):
    x = nn.Embed(WORDS, self.width, name="embed")(tokens)
    x = nn.relu(nn.Dense(self.width, name="block_1")(x))
    x = nn.Dropout(0.1, deterministic=deterministic)(x)
    return nn.Dense(CLASSES, name="out")(x.mean(1, where=mask[..., None]))


def texts(count):
  tokens = RNG.integers(0, WORDS, (count, 6))
  return {
    "tokens": tokens,
    "mask": np.arange(6) < RNG.integers(2, 7, (count, 1)),
    "label": tokens[:, 0] % CLASSES,
  }


TEXTS, HELD_OUT = texts(20), texts(11)
TASK = kdjax.tasks.text_classification(CLASSES)
STUDENT, BIG = (
  kdjax.from_linen(Encoder(width), classifier="out") for width in (4, 8)
)
BIG_VARIABLES = jax.jit(BIG.init)(
  jax.random.key(9), {name: TEXTS[name][:1] for name in ("tokens", "mask")}
)
FITNETS = (
  "kd(temperature=2):0.9 + ce:0.1"
  " + fitnets(student_tap='block_1', teacher_tap='block_1'):1"
)


def distill(batches=TEXTS, **options):
  """Two epochs of 20 = 8 + 8 + 4."""
  if isinstance(batches, dict):
    options.setdefault("batch_size", 8)
  if "steps" not in options:
    options.setdefault("epochs", 2)
  settings = {
    "method": FITNETS,
    "task": TASK,
    "optimizer": optax.adamw(1e-2),
    "key": jax.random.key(0),
    "score_on": HELD_OUT,
    "progress": False,
  }
  teacher = kdjax.live_teacher(BIG, BIG_VARIABLES)
  return kdjax.distill(STUDENT, teacher, batches, **settings | options)


LINEAR = kdjax.from_linen(nn.Dense(CLASSES), classifier=None)
POINTS = {
  "image": RNG.normal(size=(12, 4)).astype(np.float32),
  "label": np.arange(12) % CLASSES,
}
METHOD = kdjax.make_method("kd(temperature=2):1")


def train_points(folder=None, often=None, **change):
  """A smaller training than `distill`'s, of steps of four points."""
  options = {
    "batches": POINTS,
    "method": "ce",
    "optimizer": optax.adam(1e-2),
    "key": jax.random.key(0),
    "batch_size": 4,
    "steps": 1,
  }
  options |= change
  if "epochs" in change:
    del options["steps"]
  if not isinstance(options["batches"], dict):
    del options["batch_size"]
  teacher = kdjax.stored_teacher(POINTS["image"][:, :CLASSES])
  with (
    kdjax.Checkpoints(folder, **often or {})
    if folder
    else contextlib.nullcontext()
  ) as checkpoints:
    return kdjax.distill(
      LINEAR,
      teacher,
      task=kdjax.tasks.classification(CLASSES),
      checkpoints=checkpoints,
      progress=False,
      **options,
    )


def same(one, other):
  assert digest(one.variables) == digest(other.variables)
  assert (one.metrics, one.history) == (other.metrics, other.history)


@pytest.fixture(scope="module")
def whole():
  return distill(log_every=1)


def test_a_module_of_ones_own_is_distilled(tmp_path):
  student, teacher = STUDENT, BIG
  batches = [
    {name: x[rows] for name, x in TEXTS.items()}
    for rows in np.split(np.arange(20), [8, 16])
  ]
  done = kdjax.distill(
    student, kdjax.live_teacher(teacher, BIG_VARIABLES), batches,
    method="kd(temperature=2):0.9 + ce:0.1 + fitnets(student_tap='block_1', teacher_tap='block_1'):1",
    task=kdjax.tasks.text_classification(3), optimizer=optax.adamw(1e-3), epochs=3, key=jax.random.key(0),
    checkpoints=kdjax.Checkpoints(tmp_path / "mine"), score_on=HELD_OUT)  # fmt: skip
  # The regressor is not the student's.
  shapes = jax.tree.map(
    jnp.shape,
    jax.jit(student.init)(
      jax.random.key(0), {name: TEXTS[name][:1] for name in ("tokens", "mask")}
    ),
  )
  assert jax.tree.map(jnp.shape, dict(done.variables)) == shapes
  assert done.metrics == kdjax.evaluate(
    student, done.variables, HELD_OUT, task=TASK
  )
  assert [row["epoch"] for row in done.history] == [1, 2, 3]
  assert done.history[2]["loss"] < done.history[0]["loss"]
  assert {"loss", "train_accuracy", "test_accuracy", "kd", "fitnets"} <= (
    done.history[0].keys()
  )


@pytest.fixture(scope="module")
def points():
  return train_points(epochs=2, log_every=1)


def test_arrays_are_shuffled_by_the_key_alone(points):
  same(train_points(epochs=2, log_every=1), points)
  start = points.variables
  one, other = (
    train_points(key=jax.random.key(n), variables=start, epochs=1)
    for n in range(2)
  )
  assert digest(one.variables) != digest(other.variables)


class Killed(BaseException):
  pass


def die(event):
  if event.step == 5:
    raise Killed


@pytest.mark.slow
def test_killed_and_called_again_is_the_same(whole, tmp_path):
  def call(**options):
    with kdjax.Checkpoints(tmp_path) as kept:
      return distill(checkpoints=kept, log_every=1, **options)

  with pytest.raises(Killed):
    call(callbacks=[die])
  same(call(), whole)


def test_a_data_set_of_grain_goes_on_at_any_step(tmp_path):
  rows = [{name: x[i] for name, x in POINTS.items()} for i in range(12)]

  def call(folder, **options):
    batches = grain.MapDataset.source(rows).shuffle(seed=1).batch(4)
    return train_points(
      tmp_path / folder, {"every_steps": 2}, batches=batches, epochs=2,
      log_every=1, **options,
    )  # fmt: skip

  whole = call("whole")
  with pytest.raises(Killed):
    call("killed", callbacks=[die])
  same(call("killed"), whole)


def test_batches_of_any_kind_are_the_same(points):
  order = np.random.default_rng
  parts = [order((0, epoch)).permutation(12).reshape(3, 4) for epoch in (0, 1)]

  def passes(epoch):
    for rows in parts[epoch]:
      yield {name: x[rows] for name, x in POINTS.items()}

  done = train_points(batches=passes, epochs=2)
  for one, other in zip(
    jax.tree.leaves(done.variables),
    jax.tree.leaves(points.variables),
    strict=True,
  ):
    np.testing.assert_allclose(one, other, atol=1e-5)
  passed = [{name: x[:4] for name, x in POINTS.items()}] * 2
  once = train_points(batches=iter(passed), epochs=1)
  same(once, train_points(batches=lambda: iter(passed), epochs=1))


def test_patience_returns_the_best():
  done = train_points(
    optimizer=optax.sgd(0.0), epochs=9, patience=2, score_on=POINTS
  )
  assert [row["epoch"] for row in done.history] == [1, 2, 3]


def test_a_loss_that_is_not_finite_ends_in_one_line(tmp_path):
  with pytest.raises(DivergedError, match="learning rate.*has step 3") as error:
    train_points(
      tmp_path,
      epochs=2,
      optimizer=optax.sgd(lambda step: jnp.where(step < 4, 0.1, jnp.inf)),
    )
  assert "\n" not in str(error.value) and error.value.exit_status == 3


class Small(nnx.Module):
  def __init__(self, rngs):
    self.hidden = nnx.Linear(5, 4, rngs=rngs)
    self.norm = nnx.BatchNorm(4, rngs=rngs)
    self.head = nnx.Linear(4, CLASSES, rngs=rngs)

  def __call__(self, x):
    return self.head(nnx.relu(self.norm(self.hidden(x))))


def test_an_nnx_module_is_distilled_and_goes_on(tmp_path):
  images = RNG.normal(size=(20, 5)).astype(np.float32)
  arrays = {"image": images, "label": np.arange(20) % CLASSES}
  module = Small(nnx.Rngs(0))
  student, start = kdjax.from_nnx(module)
  task = kdjax.tasks.classification(CLASSES)

  def call(folder, epochs):
    return kdjax.distill(
      student, None, arrays, method="hard", task=task, epochs=epochs,
      optimizer=optax.adam(1e-2), key=jax.random.key(0), variables=start,
      batch_size=8, score_on=arrays, progress=False,
      checkpoints=kdjax.Checkpoints(tmp_path / folder),
    )  # fmt: skip

  whole = call("whole", 3)
  call("stopped", 1)
  same(call("stopped", 3), whole)
  nnx.update(module, whole.variables)
  module.eval()
  accuracy = np.mean(module(images).argmax(-1) == arrays["label"])
  assert whole.metrics["accuracy"] == pytest.approx(accuracy)


def on_two():
  return kdjax.pmap(jax.devices()[:2])


def on_a_mesh():
  mesh = jax.make_mesh((2, 2), ("data", "model"), devices=jax.devices()[:4])
  cut = jax.sharding.PartitionSpec(None, "model")
  return kdjax.sharded(mesh, [(r"block_\d/kernel", cut)])


@pytest.mark.slow
@pytest.mark.parametrize("placement", [on_two, on_a_mesh])
def test_one_device_goes_on_where_several_have_stopped(
  whole, tmp_path, placement
):
  for epochs, placed in ((1, placement()), (2, kdjax.jit())):
    kept = kdjax.Checkpoints(tmp_path)
    done = distill(epochs=epochs, placement=placed, checkpoints=kept)
  assert [row["step"] for row in done.history] == [3, 6]
  assert done.metrics == pytest.approx(whole.metrics, abs=1e-4)
  for one, other in zip(
    jax.tree.leaves(done.variables),
    jax.tree.leaves(whole.variables),
    strict=True,
  ):
    np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize(
  ("options", "words"),
  [
    ({"epochs": None}, "either epochs= or steps=, got neither"),
    ({"steps": 3, "epochs": 2}, "got epochs=2, steps=3"),
    ({"epochs": 0}, "epochs= takes a whole number >= 1; got 0"),
    ({"patience": 2, "score_on": None}, "score_on="),
    ({"score_on": iter([HELD_OUT])}, "score_on is read after every epoch"),
    ({"batch_size": None}, "needs batch_size="),
    ({"method": "kdd"}, "did you mean 'kd'"),
    ({"optimizer": 0.1}, "optimi"),
    ({"batches": [{"tokens": np.zeros((2, 6), int)}]}, "mask"),
    ({"batches": [{"label": np.zeros(2, int)}]}, "'tokens'"),
    ({"method": "fitnets(student_tap='blok_1')"}, "block_1"),
  ],
)
def test_misfits_end_in_one_line(options, words):
  with pytest.raises(UserError, match=words) as error:
    distill(**options)
  assert str(error.value).count("\n") == 0


@pytest.mark.parametrize("method", ["ce", METHOD])
def test_the_same_training_goes_on(tmp_path, method):
  train_points(tmp_path, method=method)
  # As after a restart, where all is made anew.
  change = {"optimizer": optax.adam(1e-2), "batches": dict(POINTS), "steps": 2}
  if method is METHOD:
    method = kdjax.make_method("kd(temperature=2):1")
  assert len(train_points(tmp_path, method=method, **change).history) == 2


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
  """A folder of a training whose method is a text, and of one where it is none."""
  texts, values = (tmp_path_factory.mktemp(name) for name in ("text", "value"))
  train_points(texts)
  train_points(values, method=METHOD)
  return {"ce": texts, None: values}


@pytest.mark.parametrize(
  ("method", "change", "words"),
  [
    ("ce", {"key": jax.random.key(7)}, r"its key is \[0, 0\], this one's \[0, 7\]"),
    ("ce", {"batches": POINTS | {"image": POINTS["image"] + 1}}, "its data is of"),
    ("ce", {"batches": lambda: [POINTS]}, "its batch_size is 4, this one's None"),
    ("ce", {"batch_size": 5}, "its batch_size is 4, this one's 5"),
    ("ce", {"method": "kd"}, "its method is 'ce', this one's 'kd'"),
    ("ce", {"optimizer": optax.adam(2e-2)}, "its optimizer is of digest"),
    (None, {"method": kdjax.make_method("kd:1")}, "its method is of digest"),
  ],
)  # fmt: skip
def test_another_training_needs_another_folder(folders, method, change, words):
  settings = {"method": method or METHOD, "steps": 2} | change
  with pytest.raises(UserError, match=f"{words}.*give another folder") as error:
    train_points(folders[method], **settings)
  assert "\n" not in str(error.value)


def test_a_folder_of_a_loop_of_ones_own_is_no_training(tmp_path):
  with kdjax.Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(3, {"w": jnp.ones(2)})
  with pytest.raises(UserError, match="holds what a loop of its own has saved"):
    train_points(tmp_path)
