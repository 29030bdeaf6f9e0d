"""Batches of what a user has: every kind, every misfit, every place."""

import importlib.util
import json

import grain
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax import data
from kdjax.core.errors import UserError
from kdjax.data.batch_iterator import open_batches

ARRAYS = {
  "image": np.arange(20, dtype=np.float32).reshape(10, 2),
  "label": np.arange(10),
}


class Tensor:
  """As torch's: refuses to become an array while it has a gradient."""

  def __init__(self, values, *, gradient=False, dtype=np.float32):
    self.values, self.gradient = np.asarray(values, dtype), gradient

  def detach(self):
    return Tensor(self.values, dtype=self.values.dtype)

  def __array__(self, dtype=None, copy=None):
    if self.gradient:
      raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
    return self.values


class Half:
  """As torch's bfloat16: numpy has no such type, dlpack has."""

  def __init__(self, values):
    self.values = jnp.asarray(values, jnp.bfloat16)

  def __array__(self, dtype=None, copy=None):
    raise TypeError("Got unsupported ScalarType BFloat16")

  def __dlpack__(self, **options):
    return self.values.__dlpack__(**options)

  def __dlpack_device__(self):
    return self.values.__dlpack_device__()


class Eager:
  """As TensorFlow's: has numpy()."""

  def __init__(self, values):
    self.values = values

  def numpy(self):
    return np.asarray(self.values)


class Loader:
  """As torch's DataLoader or tf.data: read anew whenever it is asked."""

  def __init__(self, wrap, items):
    self.wrap, self.items = wrap, items

  def __len__(self):
    return len(self.items)

  def __iter__(self):
    for item in self.items:
      yield {name: self.wrap(x) for name, x in item.items()}


class Rows:
  """As datasets.Dataset: rows by places, as arrays if asked."""

  def __init__(self, columns, format=None):
    self.columns, self.format = columns, format

  def with_format(self, name):
    return Rows(self.columns, name)

  def __len__(self):
    return len(self.columns["label"])

  def __getitem__(self, rows):
    assert self.format == "numpy"
    return {name: x[rows] for name, x in self.columns.items()}


class Streamed:
  """As datasets.IterableDataset: one example after the other."""

  def __init__(self, columns, epoch=0):
    self.columns, self.epoch = columns, epoch

  def with_format(self, name):
    return self

  def set_epoch(self, epoch):
    self.epoch = epoch

  def iter(self, batch_size):
    for start in range(0, len(self.columns["label"]), batch_size):
      part = slice(start, start + batch_size)
      yield {name: x[part] + self.epoch for name, x in self.columns.items()}


def cut(arrays=ARRAYS, size=4):
  return [
    {name: x[start : start + size] for name, x in arrays.items()}
    for start in range(0, 10, size)
  ]


def of_epoch(epoch):
  return [{"label": np.array([epoch, step])} for step in range(3)]


def grain_map():
  examples = [{"label": np.int32(i), "image": np.ones(2)} for i in range(10)]
  return grain.MapDataset.source(examples).seed(3).shuffle().batch(4)


def grain_loader():
  return grain.DataLoader(
    data_source=[{"label": np.int32(i)} for i in range(10)],
    sampler=grain.samplers.IndexSampler(10, num_epochs=1, shuffle=True, seed=2),
    operations=[grain.transforms.Batch(4)],
  )


SOURCES = {
  "arrays": lambda: open_batches(ARRAYS, batch_size=4, key=1),
  "lists": lambda: open_batches({"label": list(range(10))}, batch_size=4),
  "jax arrays": lambda: open_batches(
    jax.tree.map(jnp.asarray, ARRAYS), batch_size=4, key=jax.random.key(1)
  ),
  "nested": lambda: open_batches(
    {"inputs": ARRAYS, "label": ARRAYS["label"]}, batch_size=4, key=1
  ),
  "list of batches": lambda: open_batches(cut()),
  "iterator": lambda: open_batches(iter(cut())),
  "function": lambda: open_batches(cut),
  "function of the epoch": lambda: open_batches(of_epoch),
  "function of iterators": lambda: open_batches(lambda: iter(cut())),
  "function of arrays": lambda: open_batches(
    lambda epoch: {"label": ARRAYS["label"] + epoch}, batch_size=4, key=1
  ),
  "function of grain": lambda: open_batches(grain_map),
  "grain map": lambda: open_batches(grain_map()),
  "grain iter": lambda: open_batches(grain_map().to_iter_dataset()),
  "grain iterator": lambda: open_batches(iter(grain_map())),
  "grain loader": lambda: open_batches(grain_loader()),
  "torch": lambda: open_batches(Loader(Tensor, cut())),
  "tf.data": lambda: open_batches(Loader(Eager, cut())),
  "datasets": lambda: open_batches(Rows(ARRAYS), batch_size=4, key=1),
  "streamed datasets": lambda: open_batches(Streamed(ARRAYS), batch_size=4),
}
for _library, _make in (
  ("pandas", lambda pandas: pandas.DataFrame({"label": ARRAYS["label"]})),
  ("pyarrow", lambda arrow: arrow.table({"label": ARRAYS["label"]})),
):
  if importlib.util.find_spec(_library):
    SOURCES[_library] = lambda name=_library, make=_make: open_batches(
      make(importlib.import_module(name)), batch_size=4, key=1
    )
ONE_PASS = ("iterator", "grain iterator")


def values(batch):
  return jax.tree.map(lambda x: np.asarray(x).tolist(), batch)


def passes(batches, count):
  return [[values(batch) for batch in batches] for _ in range(count)]


@pytest.mark.parametrize("name", SOURCES)
def test_goes_on_from_every_place_as_if_never_stopped(name):
  count = 1 if name in ONE_PASS else 2
  whole = sum(passes(SOURCES[name](), count), [])
  first, read = SOURCES[name](), []
  states = [first.get_state()]
  for _ in range(count):
    for batch in first:
      read.append(values(batch))
      states.append(first.get_state())
  assert read == whole
  for done, state in enumerate(states):
    again = SOURCES[name]()
    again.set_state(json.loads(json.dumps(state)))
    rest = []
    while again.epoch < count:
      rest += [values(batch) for batch in again]
    assert rest == whole[done:], done


@pytest.mark.parametrize("name", SOURCES)
def test_batches_have_one_shape_and_what_fills_them_counts_nothing(name):
  batches = SOURCES[name]()
  sizes = {tuple(map(len, jax.tree.leaves(batch))) for batch in batches}
  assert len(sizes) == 1
  if "epoch" in name:
    return
  real = [
    label
    for batch in SOURCES[name]()
    for label, weight in zip(batch["label"], batch["weight"], strict=True)
    if weight
  ]
  assert sorted(map(int, real)) == list(range(10))


@pytest.mark.parametrize(
  ("name", "steps"),
  [("arrays", 3), ("datasets", 3), ("torch", 3), ("grain map", 3),
   ("iterator", None), ("function", None), ("streamed datasets", None)],
)  # fmt: skip
def test_tells_the_steps_of_a_pass(name, steps):
  assert SOURCES[name]().steps == steps


def test_numbers_what_is_read_in_its_order():
  batches = open_batches(iter(cut()))
  places = [batch["index"].tolist() for batch in batches]
  assert places == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 8, 9]]


def test_changes_batches_and_keeps_their_place():
  def plus(batch):
    return batch | {"label": batch["label"] + 100}

  batches = SOURCES["grain map"]().map(plus).map(plus)
  assert batches is open_batches(batches)
  next(iter(batches))
  again = SOURCES["grain map"]()
  again.set_state(batches.get_state())
  for one, other in zip(batches, again, strict=True):
    assert (one["label"] == other["label"] + 200).all()


def test_a_size_by_default_is_for_what_needs_one():
  sizes = [
    len(next(iter(open_batches(x, default_size=7)))["label"])
    for x in (ARRAYS, Rows(ARRAYS), Streamed(ARRAYS), cut(), {"label": [1, 2]})
  ]
  assert sizes == [7, 7, 7, 4, 2]


@pytest.mark.parametrize("name", ["arrays", "datasets", "grain map"])
def test_shuffles_anew_for_every_pass(name):
  first, second = passes(SOURCES[name](), 2)
  assert first != second


def test_arrays_come_in_the_planned_order_with_their_places():
  plan = data.batches(np.arange(10), 4, seed=7, start=0, stop=6)
  batches = open_batches(ARRAYS, batch_size=4, key=jax.random.key(7))
  read = sum(([*batches] for _ in range(2)), [])
  for batch, rows, weight in zip(read, *plan, strict=True):
    assert batch["index"].tolist() == rows.tolist() == batch["label"].tolist()
    assert batch["weight"].tolist() == weight.tolist()
    assert batch["position"].tolist() == [0, 1, 2, 3]


def test_keeps_the_entries_that_it_would_fill_in():
  given = {"x": np.ones(3), "index": np.array([7, 8, 9])}
  given["weight"] = np.array([1, 0, 2], np.float32)
  (first, second) = open_batches(given, batch_size=2)
  assert first["index"].tolist() == [7, 8]
  assert first["weight"].tolist() == [1, 0]
  assert second["weight"].tolist() == [2, 0]


@pytest.mark.parametrize(
  ("value", "dtype"),
  [
    (Tensor([1, 2], gradient=True), np.float32),
    (Half([1, 2]), jnp.bfloat16),
    (Eager(np.array([1, 2], np.int64)), np.int64),
    ([True, False], bool),
    (jnp.ones(2, jnp.bfloat16), jnp.bfloat16),
  ],
  ids=["gradient", "bfloat16", "tensorflow", "list", "jax"],
)
def test_turns_tensors_into_arrays(value, dtype):
  (batch,) = open_batches([{"x": value}])
  assert batch["x"].dtype == dtype
  assert batch["x"].shape == (2,)


def ended():
  batches = open_batches(iter(cut()))
  return [*batches] + [*batches]


def empty_later():
  items = iter(cut())
  batches = open_batches(lambda: items)
  return [*batches] + [*batches]


def other_place():
  state = open_batches(ARRAYS, batch_size=4).get_state()
  open_batches(ARRAYS, batch_size=5).set_state(state)


@pytest.mark.parametrize(
  ("read", "message"),
  [
    (lambda: open_batches(3), "from a int; give a mapping of arrays"),
    (lambda: open_batches(ARRAYS), "needs batch_size="),
    (lambda: open_batches(Rows(ARRAYS)), "needs batch_size="),
    (
      lambda: open_batches(ARRAYS, batch_size=0),
      "batch_size= takes a whole number >= 1; got 0",
    ),
    (
      lambda: open_batches(ARRAYS, batch_size="4"),
      "whole number >= 1; got '4'",
    ),
    (
      lambda: open_batches(ARRAYS, batch_size=4.0),
      "whole number >= 1; got 4.0",
    ),
    (lambda: open_batches(ARRAYS, batch_size=True), "got True"),
    (lambda: open_batches(ARRAYS, batch_size=2, key="a"), "PRNG key.*got 'a'"),
    (
      lambda: open_batches(ARRAYS, batch_size=2).set_state({}),
      "state= takes what get_state",
    ),
    (lambda: open_batches(cut(), batch_size=4), "of its own size"),
    (lambda: [*open_batches([{0: np.ones(2)}])], "name is a text, not 0"),
    (
      lambda: [*open_batches([{"x": np.ones(2, "timedelta64[D]")}])],
      "'x' holds no numbers",
    ),
    (
      lambda: [*open_batches([{"weight": np.ones((2, 2))}])],
      r"'weight' has the shape \(2, 2\)",
    ),
    (lambda: open_batches({}, batch_size=4), "has no entry"),
    (
      lambda: open_batches({"x": np.ones(3), "y": np.ones(4)}, batch_size=2),
      "entry 'x' has 3 rows, 'y' has 4",
    ),
    (lambda: open_batches({"x": np.ones(0)}, batch_size=2), "'x' has no row"),
    (lambda: open_batches(lambda a, b: a), "takes a, b"),
    (lambda: [*open_batches(lambda: None)], "returned a NoneType"),
    (
      lambda: [*open_batches([(1, 2)])],
      r"batch 1 of epoch 1: an item is a tuple of 2; its entries need names",
    ),
    (
      lambda: [*open_batches([{"x": [1.0]}, {"y": [1.0]}])],
      "batch 2 of epoch 1 has no entry 'x'",
    ),
    (
      lambda: [*open_batches([{"x": [1.0]}, {"x": [1.0], "y": [1.0]}])],
      "batch 2 of epoch 1 alone has an entry 'y'",
    ),
    (lambda: [*open_batches([{"x": 1.0}])], "'x' is a single number"),
    (lambda: [*open_batches([{"x": ["a"]}])], "'x' holds text"),
    (lambda: [*open_batches([{"x": [None]}])], "'x' holds Python objects"),
    (lambda: [*open_batches([{"x": [[1], [1, 2]]}])], "'x' is no array: its"),
    (lambda: [*open_batches([{"a": {"b": ["c"]}}])], "'a/b' holds text"),
    (lambda: [*open_batches([])], "no batch in epoch 1"),
    (empty_later, "no batch in epoch 2; a function must"),
    (ended, "is read once"),
    (other_place, "counts 3 batches an epoch, these are 2"),
  ],
)
def test_refuses_in_one_line(read, message):
  with pytest.raises(UserError, match=message) as error:
    read()
  assert "\n" not in str(error.value)


def test_refuses_several_data_sets_at_once():
  splits = type("DatasetDict", (dict,), {"with_format": None})
  with pytest.raises(UserError, match="give one of them: 'train', 'test'"):
    open_batches(splits(train=1, test=2), batch_size=3)
