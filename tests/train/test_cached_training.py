"""Training on a cache is training on the teacher, within the stated bound."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax import data
from kdjax.core.task import batch_of
from kdjax.core.teacher import observe, stored_teacher
from kdjax.data.teacher_cache.records import record_type, to_records
from kdjax.data.teacher_cache.store import TeacherCache, finish, write_shard
from kdjax.methods import make_objective
from kdjax.models import make_model
from kdjax.runner.pipeline import cached_teacher

VIEWS, VIEW = 3, "shift(1)"
WEIGHT = 0.7


def response(settings):
  return make_objective("kd:0.7 + ce:0.3", temperature=2.0)


def hints(settings):
  method = 'fitnets(student_tap="stage_0", teacher_tap="stage_0"):1 + ce:0.5'
  return make_objective(method)


@pytest.fixture(scope="module")
def shown(toy):
  """(V * N, H, W, C) float32, every view of every image."""
  images, _ = toy
  draw = data.view_by_number(data.make_view(VIEW), seed=0)
  index = jnp.arange(len(images))
  views = jax.jit(
    lambda images: [
      draw(jnp.full(len(images), number), data.to_float(images), index)
      for number in range(VIEWS)
    ]
  )(images)
  return np.concatenate(views)


@pytest.fixture
def cache(tmp_path, toy, teacher, shown):
  """cache(**options of record_type) -> an open cache, in two shards."""

  def make(taps=(), **options):
    examples = len(toy[0])
    rows = np.random.default_rng(0).permutation(VIEWS * examples)
    outputs = jax.device_get(
      jax.jit(lambda x: observe(teacher, batch_of(x), taps))(shown)
    )
    shapes = {tap: value.shape[1:] for tap, value in outputs.feats.items()}
    kind = record_type(outputs.answers.shape[1], taps=shapes, **options)
    for number, part in enumerate(np.array_split(rows, 2)):
      numbers, index = np.divmod(part, examples)
      feats = {tap: value[part] for tap, value in outputs.feats.items()}
      records = to_records(kind, index, numbers, outputs.answers[part], feats)
      write_shard(tmp_path, number, 2, [records])
    about = {
      "teacher": {"model": "mlp"},
      "data": {"name": "toy", "examples": examples, "fingerprint": ""},
      "classes": outputs.answers.shape[1],
      "views": {"view": VIEW, "crop_size": None, "count": VIEWS, "seed": 0},
    }
    finish(tmp_path, 2, kind, about)
    return TeacherCache(tmp_path)

  return make


def trained(epochs):
  return epochs[-1].states["student"].params, [
    epoch.metrics["student"] for epoch in epochs
  ]


@pytest.mark.parametrize(
  ("method", "taps"),
  [
    (response, ()),
    pytest.param(hints, ("stage_0",), marks=pytest.mark.slow),
  ],
)
def test_single_precision_trains_as_the_live_teacher(fit, cache, method, taps):
  options = {"view": VIEW, "views": VIEWS, "epochs": 2}
  live = fit(method, **options)
  kept = cache(taps, dtype="float32").teacher()
  chex.assert_trees_all_close(
    trained(fit(method, teacher=kept, **options)),
    trained(live),
    atol=2e-6,
    rtol=2e-5,
  )


@pytest.mark.parametrize(
  "options",
  [
    {"seeds": (0,), "epochs": 1},
    pytest.param({"epochs": 2}, marks=pytest.mark.slow),
  ],
)
def test_a_stream_on_two_devices_is_a_table_on_one(fit, cache, options):
  options = options | {"view": VIEW, "views": VIEWS}
  opened = cache(dtype="float32")
  table = fit(response, teacher=opened.teacher(), **options)
  streamed = fit(
    response,
    teacher=opened.teacher(np.zeros(1, int)),
    answers={
      "teacher": lambda rows: cached_teacher.answers_of(opened, rows),
      "nobody": None,
    },
    devices=2,
    **options,
  )
  chex.assert_trees_all_close(
    trained(streamed), trained(table), atol=2e-6, rtol=2e-5
  )


@pytest.mark.slow
def test_half_precision_stays_within_the_bound(fit, cache, shown):
  """Step by step on one student, and close to it where the student moves."""
  network = make_model("mlp(10)", classes=4)
  opened = cache()
  options = {
    "view": VIEW, "views": VIEWS, "epochs": 4, "network": network, "seeds": (0,),
  }  # fmt: skip
  kept = opened.teacher()
  start = fit(response, learning_rate=1e-30, **options)
  same = fit(response, learning_rate=1e-30, teacher=kept, **options)
  params = start[-1].states["student"].params["network"]
  student = network.apply(
    {"params": jax.tree.map(lambda x: x[0], params)}, shown, train=False
  )
  logits = opened.read(np.arange(opened.rows))[0]
  most = np.abs(logits).max() * 2**-11
  width = [np.ptp(x, axis=-1).max() for x in (logits, np.asarray(student))]
  bound = WEIGHT * most * (sum(width) + 2 * most) / 2
  gaps = [
    np.abs(a.metrics["student"]["loss"] - b.metrics["student"]["loss"]).max()
    for a, b in zip(start, same, strict=True)
  ]
  assert 0 < max(gaps) <= bound + 1e-6
  live, half = fit(response, **options), fit(response, teacher=kept, **options)
  for a, b in zip(live, half, strict=True):
    loss = a.metrics["student"]["loss"]
    np.testing.assert_allclose(
      b.metrics["student"]["loss"], loss, atol=2 * bound
    )


def test_stored_answers_of_images_hold_for_all_their_views():
  """What a stand-in says of an example does not depend on its view."""
  teacher = stored_teacher(jnp.eye(4))
  index, place = np.array([1, 1, 1]), np.array([1, 5, 9])
  batch = batch_of(np.zeros((3, 2, 2, 1)), index=index, place=place)
  outputs = observe(teacher, batch)
  np.testing.assert_array_equal(outputs.answers, np.eye(4)[[1, 1, 1]])
