"""`kdjax.distill` comes to what `launch.py` does, on MNIST with the demo's settings."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import small_runs

import kdjax
import launch
from kdjax.core.storage import load_variables, read_note
from kdjax.models import make_model
from kdjax.train.batch import step_key

SEEDS, EPOCHS, SIZE = 2, 8, 128
TASK = kdjax.tasks.classification(10)
STUDENT = kdjax.from_linen(make_model("mlp(100)", classes=10))
RUN = [
  "--experiment=mnist_demo", "--teacher=mlp(100)", "--teacher_epochs=3",
  f"--epochs={EPOCHS}", f"--seeds={SEEDS}", "--nocontrols", "--accelerator=cpu",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """What the runner found: results, the teacher, all students."""
  folder = tmp_path_factory.mktemp("demo") / "run"
  with small_runs.bare():
    assert launch.main(["launch.py", *RUN, f"--workdir={folder}"]) == 0
  results = json.loads((folder / "results.json").read_text())
  teacher, students = (
    load_variables(folder / name, read_note(folder / name))
    for name in ("teacher", "student")
  )
  return results, teacher, students


@pytest.fixture(scope="module")
def digits():
  dataset = kdjax.data.load("mnist5k")
  return [
    {"image": np.asarray(kdjax.data.to_float(split.images)), "label": split.labels}
    for split in (dataset.train, dataset.test)
  ]  # fmt: skip


def learned(run, digits, seed, batches, **options):
  train, test = digits
  results, teacher, _ = run
  steps = EPOCHS * -(-len(train["label"]) // SIZE)
  student = results["experiment"]["student"]
  assert (student["epochs"], student["batch_size"]) == (EPOCHS, SIZE)
  assert (student["optimizer"], student["schedule"]) == ("adam", "cosine")
  rate = optax.cosine_decay_schedule(student["learning_rate"], steps)
  return kdjax.distill(
    STUDENT, kdjax.live_teacher(STUDENT, teacher), batches,
    method=results["objective"], task=TASK, optimizer=optax.adam(rate),
    epochs=EPOCHS, key=jax.random.key(seed), score_on=test, progress=False,
    **options,
  )  # fmt: skip


def in_the_runners_order(train, seed, epochs):
  """A function of the epochs, each as the runner shows it."""
  steps = -(-len(train["label"]) // SIZE)

  def epoch():
    first = next(epochs) * steps
    plan = kdjax.data.batches(
      np.arange(len(train["label"])), SIZE,
      seed=seed, start=first, stop=first + steps,
    )  # fmt: skip
    for index, weight in zip(plan.indices, plan.weights, strict=True):
      yield {name: x[index] for name, x in train.items()} | {"weight": weight}

  return epoch


@pytest.mark.slow
def test_the_same_start_and_order_give_the_same_networks(run, digits):
  """To rounding: the runner's seeds are one batched product inside a scan."""
  results, _, students = run
  for seed in range(SEEDS):
    key = step_key(jnp.int32(seed), jnp.uint32(2**32 - 1), 0)
    start = STUDENT.init(jax.random.split(key)[0], digits[0]["image"][:1])
    order = in_the_runners_order(digits[0], seed, iter(range(EPOCHS)))
    done = learned(run, digits, seed, order, variables=start)
    jax.tree.map(
      partial(np.testing.assert_allclose, atol=1e-3),
      done.variables,
      jax.tree.map(lambda x, seed=seed: x[seed], students),
    )
    assert done.metrics["accuracy"] == pytest.approx(
      results["student"]["test_accuracy"][seed], abs=2e-3
    )


@pytest.mark.slow
def test_one_plain_call_is_as_good(run, digits):
  """Another start and order, within what seeds differ by."""
  scores = [
    learned(run, digits, seed, digits[0], batch_size=SIZE).metrics["accuracy"]
    for seed in range(SEEDS)
  ]
  own = run[0]["student"]["test_accuracy"]
  assert np.mean(scores) == pytest.approx(np.mean(own), abs=0.01)
