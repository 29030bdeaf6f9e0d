"""A cache of a user's own batches: what is joined is what the teacher said."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kdjax
from kdjax import data
from kdjax.core import storage
from kdjax.core.errors import StorageError, UserError
from kdjax.core.task import as_batch
from kdjax.core.teacher import Teacher, observe
from kdjax.data.teacher_cache.manifest import refuse_other

TASK = kdjax.tasks.classification(5)
COUNT = 23
ARRAYS = {
  "image": np.random.default_rng(0)
  .integers(0, 256, (COUNT, 4, 4, 1))
  .astype(np.uint8),
  "label": np.arange(COUNT, dtype=np.int32) % 5,
}


class Net(nn.Module):
  """Takes stored images."""

  @nn.compact
  def __call__(self, image):
    x = nn.Dense(8, name="hidden")(image.reshape(len(image), -1) / 255.0)
    return nn.Dense(5, name="head")(nn.relu(x))


NETWORK = kdjax.from_linen(Net())
VARIABLES = NETWORK.init(jax.random.key(0), {"image": ARRAYS["image"][:1]})
TEACHER = kdjax.live_teacher(NETWORK, VARIABLES)


def answers(images, taps=()):
  return observe(TEACHER, as_batch(TASK, {"image": images}), taps)


def cut(rows, *, index=False):
  """Batches of 4 of some rows, the last one ragged."""
  batches = []
  for start in range(0, len(rows), 4):
    part = rows[start : start + 4]
    batch = {name: x[part] for name, x in ARRAYS.items()}
    batches.append(batch | ({"index": part} if index else {}))
  return batches


SHUFFLED = np.random.default_rng(1).permutation(COUNT)
WRITTEN = {
  "arrays": lambda: ARRAYS,
  "jax arrays": lambda: jax.tree.map(jnp.asarray, ARRAYS),
  "list": lambda: cut(np.arange(COUNT)),
  "iterator": lambda: iter(cut(np.arange(COUNT))),
  "function": lambda: lambda: cut(np.arange(COUNT)),
  "any order, with index": lambda: cut(SHUFFLED, index=True),
  "some twice": lambda: (
    cut(np.arange(COUNT), index=True) + cut(np.arange(3), index=True)
  ),
  "open batches": lambda: data.open_batches(ARRAYS, batch_size=7, key=3),
}


def write(folder, batches=ARRAYS, teacher=TEACHER, task=TASK, **options):
  return kdjax.write_teacher_cache(
    folder, teacher, batches, task=task, **options
  )


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
  return write(tmp_path_factory.mktemp("cache"), features=["hidden"])


@pytest.mark.parametrize("name", WRITTEN)
def test_the_stored_teacher_answers_as_the_live_one(tmp_path, name):
  write(tmp_path / "new" / "cache", WRITTEN[name](), features=("hidden",))
  teacher = kdjax.TeacherCache(str(tmp_path / "new" / "cache")).teacher()
  places = np.array([20, 3, 3, 0])
  batch = as_batch(TASK, {"image": ARRAYS["image"][places], "index": places})
  live = observe(TEACHER, batch, ("hidden",))
  stored = jax.jit(lambda t, b: observe(t, b, ("hidden",)))(teacher, batch)
  np.testing.assert_allclose(stored.answers, live.answers, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(
    stored.feats["hidden"], live.feats["hidden"], rtol=1e-5, atol=1e-6
  )


@pytest.mark.parametrize(
  "batches",
  [ARRAYS, cut(SHUFFLED), lambda epoch: cut(SHUFFLED[::-1]), cut([3, 3, 9])],
  ids=["arrays", "another order", "function", "some"],
)
def test_joins_answers_to_examples_in_any_order(cache, batches):
  size = {"batch_size": 5, "key": 2} if batches is ARRAYS else {}
  for _ in range(2):
    for batch in cache.join(batches, **size):
      live = answers(batch["image"], ("hidden",))
      np.testing.assert_allclose(
        batch["teacher_answers"], live.answers, rtol=1e-5, atol=1e-6
      )
      np.testing.assert_allclose(
        batch["teacher_features"]["hidden"],
        live.feats["hidden"],
        rtol=1e-5,
        atol=1e-6,
      )


def test_joined_batches_go_on_from_a_kept_place(cache):
  joined = cache.join(ARRAYS, batch_size=5, key=2)
  next(iter(joined))
  state = joined.get_state()
  again = cache.join(ARRAYS, batch_size=5, key=2)
  again.set_state(state)
  for one, other in zip(joined, again, strict=True):
    np.testing.assert_array_equal(
      one["teacher_answers"], other["teacher_answers"]
    )


def test_keeps_the_largest(tmp_path):
  stored = write(tmp_path, top_k=2, dtype="float16").teacher().arrays.answers
  live = jax.nn.log_softmax(answers(ARRAYS["image"]).answers)
  largest = np.argsort(-live)[:, :2]
  np.testing.assert_allclose(
    np.take_along_axis(np.asarray(stored), largest, 1),
    np.take_along_axis(np.asarray(live), largest, 1),
    rtol=2e-3,
  )


def test_a_run_on_the_same_images_takes_it(cache):
  split = data.Split(ARRAYS["image"], ARRAYS["label"])
  run = {
    "classes": 5,
    "views": {"view": "none", "crop_size": None, "count": 1, "seed": 0},
    "digest": storage.digest(VARIABLES),
  }
  refuse_other(cache.manifest, fingerprint=data.fingerprint(split), **run)
  other = data.fingerprint(split._replace(labels=ARRAYS["label"][::-1]))
  with pytest.raises(UserError, match="made from other training images"):
    refuse_other(cache.manifest, fingerprint=other, **run)


def nan(params):
  return jax.tree.map(lambda x: x * np.nan, params)


@pytest.mark.parametrize(
  ("options", "message"),
  [
    (
      {"teacher": NETWORK},
      "teacher= takes a Teacher from live_teacher.*got Network",
    ),
    (
      {"batches": [{"image": ARRAYS["image"][:2], "index": np.array([0, 2])}]},
      "of examples 0 to 2, as 'index' numbers them, 1 is missing",
    ),
    (
      {"batches": [{"image": ARRAYS["image"][:1], "index": np.array([-1])}]},
      "entry 'index' has -1",
    ),
    ({"batches": [(1, 2)]}, "its entries need names"),
    ({"batches": {"label": ARRAYS["label"]}}, "no entry 'image'"),
    ({"batches": []}, "there is no batch"),
    ({"top_k": 5}, "top-5 of 5 classes: keep 1 to 4"),
    ({"dtype": "int8"}, "a cache holds float16 or float32, got 'int8'"),
    (
      {"teacher": kdjax.live_teacher(NETWORK, nan(VARIABLES))},
      "logits leave the finite numbers of float32",
    ),
    (
      {"teacher": kdjax.stored_teacher(np.zeros((COUNT, 2, 3)))},
      r"have the shape \(23, 2, 3\); a cache holds one row",
    ),
    (
      {"task": TASK._replace(kind="values"), "top_k": 2},
      "top_k=2: the task classification has no scores of classes",
    ),
    ({"features": ["hiden"]}, "hiden"),
  ],
)
def test_refuses_before_there_is_a_cache(tmp_path, options, message):
  with pytest.raises((UserError, ValueError), match=message):
    write(tmp_path, **options)
  with pytest.raises(UserError, match="there is no teacher cache"):
    kdjax.TeacherCache(tmp_path)
  if "batches" not in options:
    write(tmp_path)  # what was left is no obstacle


def test_refuses_to_write_over_a_cache(cache):
  with pytest.raises(UserError, match="already; remove it"):
    write(cache.folder)


@pytest.mark.parametrize(
  ("batches", "message"),
  [
    (
      [ARRAYS | {"image": ARRAYS["image"] + 1}],
      "no answer to row 0 of a batch",
    ),
    ([ARRAYS | {"image": ARRAYS["image"][:, :2]}], "no answer to row 0"),
    (
      [{"pixels": ARRAYS["image"]}],
      "by the entry 'image', a batch has .*'pixels'",
    ),
  ],
)
def test_refuses_examples_of_other_data(cache, batches, message):
  with pytest.raises(UserError, match=message) as error:
    [*cache.join(batches)]
  assert "\n" not in str(error.value)


def test_a_cache_without_inputs_goes_by_the_index(cache):
  cache = kdjax.TeacherCache(cache.folder)
  del cache.manifest["data"]["inputs"]
  first = next(iter(cache.join(cut(SHUFFLED, index=True))))
  live = answers(ARRAYS["image"][SHUFFLED[:4]]).answers
  np.testing.assert_allclose(
    first["teacher_answers"], live, rtol=1e-5, atol=1e-6
  )
  with pytest.raises(
    UserError, match="to 23 examples, a batch holds number 23"
  ):
    [*cache.join([{"image": np.zeros(1), "index": np.array([COUNT])}])]


def test_damaged_inputs_are_refused(tmp_path):
  cache = write(tmp_path)
  keys = np.load(tmp_path / "inputs.npy")
  np.save(tmp_path / "inputs.npy", keys[::-1])
  with pytest.raises(StorageError, match="inputs.npy is damaged"):
    cache.join(ARRAYS, batch_size=4)


def test_a_run_s_folder_will_do(tmp_path):
  write(tmp_path / "teacher_cache")
  assert isinstance(kdjax.TeacherCache(tmp_path).teacher(), Teacher)
