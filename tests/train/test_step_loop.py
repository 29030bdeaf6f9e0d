"""The loop over a user's batches, on steps that are made by hand."""

import json
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax import Checkpoints
from kdjax.core.errors import DivergedError, PreemptedError, UserError
from kdjax.data import open_batches
from kdjax.tasks import classification
from kdjax.train import step_loop
from kdjax.train.callbacks import jsonl, progress_line, tensorboard
from kdjax.train.step_loop import Loop

TASK = classification(2)
DATA = {
  "image": np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32),
  "label": np.arange(10) % 2,
}
EPOCHS, LENGTH = 3, 4  # 10 = 3 * 3 + 1


def begin(batch):
  width = batch["image"].shape[1]
  return {"w": jnp.zeros(width), "key": jax.random.key(1)}


@jax.jit
def step(state, batch):
  key, now = jax.random.split(state["key"])
  noise = jax.random.normal(now, state["w"].shape)
  loss = jnp.sum(batch["weight"] * (batch["image"] @ state["w"] - 1) ** 2)
  moved = 0.1 * batch["weight"] @ batch["image"] + 0.01 * noise
  count = batch["weight"].sum()
  return (
    {"w": state["w"] + moved, "key": key},
    {"loss": (loss, count), "accuracy": (count / 2, count)},
  )


def make(**options):
  batches = open_batches(DATA, batch_size=3, key=5)
  if not {"steps", "epochs"} & {*options}:
    options["epochs"] = EPOCHS
  return Loop(
    **{
      "step": step,
      "begin": begin,
      "variables": lambda state: {"w": state["w"]},
      "batches": batches,
      "task": TASK,
    }
    | options
  )


def same(one, other):
  np.testing.assert_array_equal(one.best["w"], other.best["w"])
  assert one.history == other.history
  assert one.step == other.step


def test_rows_are_means_over_an_epoch():
  place = step_loop.run(make(score=lambda variables: {"accuracy": 0.5, "x": 1}))
  assert [row["step"] for row in place.history] == [4, 8, 12]
  assert place.history[0].keys() == {
    "epoch", "step", "loss", "train_accuracy", "test_accuracy", "test_x",
  }  # fmt: skip
  assert place.history[0]["train_accuracy"] == 0.5
  # The first step's students are zeros, whose loss is 1.
  first = step_loop.run(make(steps=1)).history
  assert first == [{"epoch": 1, "step": 1, "loss": 1.0, "train_accuracy": 0.5}]


@pytest.mark.parametrize(
  ("options", "steps", "ended"),
  [
    ({"epochs": 2}, [4, 8], [True, True]),
    ({"steps": 6}, [4, 6], [True, False]),
    ({"steps": 8}, [4, 8], [True, True]),
    ({"epochs": 1, "log_every": 3}, [3, 4], [False, True]),
  ],
)
def test_callbacks_see_every_row(options, steps, ended):
  events = []
  place = step_loop.run(make(callbacks=[events.append], **options))
  assert [event.step for event in events] == steps
  assert [event.ended for event in events] == ended
  assert [event.row for event in events] == place.history
  last = options.get("steps", options.get("epochs", 0) * LENGTH)
  assert {event.steps for event in events} == {last}
  np.testing.assert_array_equal(events[-1].variables()["w"], place.best["w"])


class Killed(BaseException):
  pass


def killed_at(number, act):
  """A step that acts in the place of step `number`."""
  taken = [0]

  def stepped(state, batch):
    taken[0] += 1
    if taken[0] == number:
      act()
    return step(state, batch)

  return stepped


def die():
  raise Killed


@pytest.mark.parametrize(
  ("number", "often"),
  [
    (1, {}),
    (5, {}),
    (5, {"every_steps": 1}),
    (9, {"every_steps": 3}),
    (12, {"every_steps": 3}),
  ],
)
def test_killed_at_any_step_goes_on_bit_for_bit(tmp_path, often, number):
  def scored(variables):
    return {"accuracy": float(variables["w"][0])}

  options = {"score": scored, "patience": 9, "log_every": 2}
  whole = step_loop.run(make(**options))
  with pytest.raises(Killed), Checkpoints(tmp_path, **often) as kept:
    step_loop.run(
      make(step=killed_at(number, die), checkpoints=kept, **options)
    )
  for _ in range(2):  # What is over stays so.
    kept = Checkpoints(tmp_path, **often)
    same(step_loop.run(make(checkpoints=kept, **options)), whole)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_saves_and_ends(tmp_path, name, capfd):
  def ask():
    os.kill(os.getpid(), signal.Signals[name])

  with pytest.raises(PreemptedError, match=f"{name}.*step 6.*{tmp_path}"):
    step_loop.run(
      make(step=killed_at(6, ask), checkpoints=Checkpoints(tmp_path))
    )
  assert capfd.readouterr().err.startswith(f"kdjax: {name}: stopping")
  kept = Checkpoints(tmp_path)
  assert kept.latest == 6
  same(step_loop.run(make(checkpoints=kept)), step_loop.run(make()))


def test_without_checkpoints_ctrl_c_is_ctrl_c():
  def ask():
    os.kill(os.getpid(), signal.SIGINT)

  # A shell's background jobs begin with it ignored.
  before = signal.signal(signal.SIGINT, signal.default_int_handler)
  try:
    with pytest.raises(KeyboardInterrupt):
      step_loop.run(make(step=killed_at(2, ask)))
  finally:
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("where", ["loss", "w"])
@pytest.mark.parametrize("number", [2, 12])
def test_what_is_not_finite_ends_with_the_last_good_kept(
  tmp_path, where, number
):
  taken = [0]

  def stepped(state, batch):
    taken[0] += 1
    state, metrics = step(state, batch)
    if taken[0] == number and where == "loss":
      metrics = metrics | {"loss": (jnp.nan, 1.0)}
    elif taken[0] == number:
      state = state | {"w": state["w"] * jnp.inf}
    return state, metrics

  kept = Checkpoints(tmp_path, every_steps=number - 1)
  with pytest.raises(DivergedError, match="not finite") as error:
    step_loop.run(make(step=stepped, checkpoints=kept))
  assert "\n" not in str(error.value) and error.value.exit_status == 3
  assert (kept.latest or 0) == number - 1
  assert f"step {number}" in str(error.value)


def test_patience_ends_and_the_best_is_kept():
  values = iter([0.3, 0.5, 0.4, 0.5, 0.9])
  at = []

  def scored(variables):
    at.append(np.asarray(variables["w"]))
    return {"accuracy": next(values)}

  place = step_loop.run(make(epochs=9, score=scored, patience=2))
  assert place.epoch == 4
  np.testing.assert_array_equal(place.best["w"], at[1])


def test_another_training_is_refused(tmp_path):
  options = {"checkpoints": Checkpoints(tmp_path)}
  step_loop.run(make(settings={"method": "kd"}, **options))
  with pytest.raises(UserError, match="'kd'.*'dkd'.*another folder"):
    step_loop.run(make(settings={"method": "dkd"}, **options))
  with pytest.raises(UserError, match=r"\['w'\].*float32\[3\].*nothing"):
    step_loop.run(
      make(settings={"method": "kd"}, begin=lambda batch: {}, **options)
    )


def test_a_longer_training_goes_on(tmp_path):
  step_loop.run(make(epochs=1, checkpoints=Checkpoints(tmp_path)))
  longer = step_loop.run(make(checkpoints=Checkpoints(tmp_path)))
  same(longer, step_loop.run(make()))


def test_rows_go_to_a_file_and_are_replaced(tmp_path):
  path = tmp_path / "new" / "rows.jsonl"

  def rows():
    return [json.loads(line) for line in path.read_text().splitlines()]

  kept = Checkpoints(tmp_path / "kept")
  whole = step_loop.run(make(callbacks=[jsonl(path)], log_every=2))
  assert rows() == whole.history
  with pytest.raises(Killed):
    step_loop.run(
      make(
        step=killed_at(7, die),
        checkpoints=kept,
        callbacks=[jsonl(path)],
        log_every=2,
      )
    )
  with path.open("a") as file:
    file.write('{"epoch": 2, "st')
  step_loop.run(make(checkpoints=kept, callbacks=[jsonl(path)], log_every=2))
  assert rows() == whole.history
  jsonl(path)(
    step_loop.Event(1, 1, True, {"step": 1, "loss": np.nan}, None, 1, 1)
  )
  assert rows() == [{"step": 1, "loss": None}]


def test_scalars_are_written(tmp_path):
  step_loop.run(make(callbacks=[tensorboard(tmp_path)]))
  (file,) = tmp_path.iterdir()
  assert file.read_bytes().count(b"train_accuracy") == EPOCHS


class Screen:
  def __init__(self, terminal):
    self.text, self.isatty = "", lambda: terminal

  def write(self, text):
    self.text += text

  def flush(self):
    pass


@pytest.mark.parametrize(
  ("terminal", "anywhere", "lines"),
  [(True, False, 1), (False, True, 3), (False, False, 0)],
)
def test_progress_is_a_line(monkeypatch, terminal, anywhere, lines):
  monkeypatch.setattr(step_loop, "SHOWN_SECONDS", 0.0 if terminal else 1e9)
  screen = Screen(terminal)
  shown = progress_line(TASK, stream=screen, anywhere=anywhere)
  step_loop.run(make(progress=shown))
  assert screen.text.count("\n") == lines
  if lines:
    last = screen.text.rstrip("\n").split("\r")[-1].splitlines()[-1]
    assert "epoch 3 of 3, step 12 of 12, loss" in last
    assert "train error 50.00 %" in last and "0 s left" in last
