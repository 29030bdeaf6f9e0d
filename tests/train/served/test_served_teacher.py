"""A served teacher teaches as the same network in memory does; faults are one line."""

import json
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from stub_endpoint import VOCABULARY, apply, serve, weights

import kdjax
from kdjax.core.errors import TeacherError, UserError
from kdjax.core.task import as_batch
from kdjax.core.teacher import check_answered, observe
from kdjax.evaluate import measure_text
from kdjax.train.served import asking
from kdjax.train.served.measure import measure_served
from kdjax.train.served.self_test import check_repeatable, check_same_network
from kdjax.train.served.teacher import asker_of

TASK = kdjax.tasks.language_model(VOCABULARY)
NETWORK = kdjax.from_apply(apply)
LOCAL = kdjax.live_teacher(NETWORK, weights())
K = 4
METHOD = f"topk_kd(k={K}):0.9 + ce:0.1"


def batch(rows=4, length=9, seed=0):
  """Rows of two packed documents and padding, each otherwise divided."""
  draw = np.random.default_rng(seed)
  edges = np.sort(draw.integers(2, length, (rows, 2)), axis=1)
  places = np.arange(length)
  segments = 1 + (places >= edges[:, :1]) - 2 * (places >= edges[:, 1:])
  segments = np.maximum(segments, 0).astype(np.int32)
  return {
    "tokens": draw.integers(0, VOCABULARY, (rows, length)).astype(np.int32),
    "mask": segments > 0,
    "segments": segments,
    "index": np.arange(rows, dtype=np.int32),
  }


@pytest.fixture
def stub():
  with serve(weights()) as stub:
    yield stub


def teacher_of(stub, **options):
  given = {"classes": VOCABULARY, "top_k": K, "tries": 1, "timeout": 20.0}
  return kdjax.served_teacher(stub.url, **given | options)


def loss_and_gradient(teacher, placement=None, method=METHOD):
  goal = kdjax.objective(kdjax.make_method(method), NETWORK, TASK)
  # The gradient is what a step of rate 1 takes off.
  step = kdjax.make_step(goal, optax.sgd(1.0), placement)
  start = weights(seed=1)
  state = step.init(jax.random.key(0), start, teacher, batch())
  state, metrics = step.step(state, teacher, batch())
  check_answered(teacher)
  gradient = jax.tree.map(lambda x, y: x - y, start, step.variables(state))
  return np.divide(*metrics["loss"]), gradient


@pytest.mark.slow
@pytest.mark.parametrize("devices", [None, 1, 2])
def test_it_teaches_as_the_network_in_memory_does(stub, devices):
  placement = devices and kdjax.pmap(jax.devices()[:devices])
  served = loss_and_gradient(teacher_of(stub), placement)
  local = loss_and_gradient(LOCAL)
  for one, other in zip(*map(jax.tree.leaves, (served, local)), strict=True):
    np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.slow
def test_members_under_vmap_and_arguments_of_any_size(stub):
  teacher = teacher_of(stub)

  def answered(tokens):
    inputs = {"tokens": tokens, "mask": tokens >= 0, "segments": tokens * 0 + 1}
    shown = TASK.sample(inputs)
    return observe(teacher, shown).answers.logits()

  tokens = jnp.tile(jnp.arange(64)[None, None] % VOCABULARY, (3, 2, 1))
  tokens = (tokens + jnp.arange(3)[:, None, None]) % VOCABULARY
  found = jax.jit(jax.vmap(answered))(tokens)
  one_by_one = jnp.stack([jax.jit(answered)(one) for one in tokens])
  np.testing.assert_array_equal(found, one_by_one)
  assert found.shape == (3, 2, 64, VOCABULARY)
  assert len(stub.asked) == 3
  check_answered(teacher)


def test_a_text_is_asked_about_once_and_padding_not_at_all(stub):
  teacher, shown = teacher_of(stub), as_batch(TASK, batch())
  shown = shown._replace(weight=np.array([1, 1, 1, 0], np.float32))
  first = observe(teacher, shown).answers
  observe(teacher, shown)
  segments = np.asarray(batch()["segments"])[:3]
  sizes = [np.sum(row == i) for row in segments for i in (1, 2)]
  assert sorted(len(one["prompt"]) for one in stub.asked) == sorted(
    int(size) for size in sizes if size > 1
  )
  even = np.asarray(first.logits())[3]
  np.testing.assert_allclose(
    even, np.full_like(even, -np.log(VOCABULARY)), 1e-5
  )


def test_answers_that_are_kept_are_few(stub, monkeypatch):
  monkeypatch.setattr(asking, "KEPT_BYTES", 8 * K * 3)
  asker = asker_of(teacher_of(stub))
  for text in ([1, 2, 3], [1, 2, 4], [1, 2, 3], [1, 2, 3]):
    asker.about([np.array(text)])
  assert len(stub.asked) == 3


def test_the_key_is_sent_and_not_told(stub, monkeypatch):
  monkeypatch.setenv("KDJAX_TEACHER_KEY", "secret-word")
  stub.fault = lambda number, answer: (403, b"no: secret-word")
  teacher = teacher_of(stub)
  observe(teacher, as_batch(TASK, batch()))
  with pytest.raises(TeacherError, match="403, 'no: KDJAX_TEACHER_KEY'"):
    check_answered(teacher)
  assert stub.headers["Authorization"] == "Bearer secret-word"


def row(change, place=1):
  """A fault: one row of an answer is changed."""

  def fault(number, answer):
    rows = answer["choices"][0]["prompt_logprobs"]
    rows[place] = change(dict(rows[place]))
    return answer

  return fault


def without_standing(entries):
  return {"9": {"logprob": -0.1}, "10": {"logprob": -3.0}} | {
    str(i): {"logprob": -9.0} for i in (7, 8)
  }


def with_value(value):
  return row(lambda x: dict.fromkeys(x, {"logprob": value}))


def silent(number, answer):
  time.sleep(0.6)


TEXT = [1, 2, 3, 4]
FAULTS = {
  "404": (lambda n, x: (404, b'{"message": "no such model"}'), "404.*no such"),
  "500": (lambda n, x: (500, b"oops"), r"status 500, 'oops' \(asked once\)"),
  "no JSON": (lambda n, x: (200, b"<html>\nbusy"), "no JSON: '<html> busy'"),
  "empty": (lambda n, x: {}, "no prompt_logprobs"),
  "list": (lambda n, x: [1], "no prompt_logprobs"),
  "null": (lambda n, x: (200, b"null"), "no prompt_logprobs"),
  "few rows": (
    lambda n, x: {"choices": [{"prompt_logprobs": [None, {}]}]},
    "2 rows of prompt_logprobs for 4 tokens",
  ),
  "no row": (row(lambda x: None), "row 1 is None"),
  "few tokens": (
    row(lambda x: {"2": {"logprob": -1.0}}),
    "row 1 has 1 tokens, and 4 were asked for",
  ),
  "other token": (row(without_standing), "nothing of token 2, which stands"),
  "other id": (
    row(lambda x: x | {"11": {"logprob": -9.0}}),
    "id '11'.*0 to 10",
  ),
  "a word": (row(lambda x: x | {"cat": {"logprob": -9.0}}), "id 'cat'"),
  "nan": (with_value(float("nan")), "log-probability of token .* is nan"),
  "inf": (with_value(float("-inf")), "is -inf"),
  "text": (with_value("-1"), "is -1, no number"),
  "missing": (row(lambda x: dict.fromkeys(x, {})), "is None"),
  "positive": (with_value(0.5), "is 0.5"),
  "sum": (with_value(-0.5), "probability 2.4261 together"),
  "silent": (silent, "no answer within 0.3 s"),
  "hung up": (lambda n, x: None, "closed connection without response"),
}


@pytest.mark.parametrize(("fault", "message"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_one_line(stub, fault, message):
  stub.fault = fault
  teacher = teacher_of(stub, **{"timeout": 0.3} if fault is silent else {})
  shown = {"tokens": np.array([TEXT, TEXT])}
  answers = observe(teacher, as_batch(TASK, shown)).answers
  assert np.isnan(answers.logits()).all()
  with pytest.raises(TeacherError, match=message) as found:
    check_answered(teacher)
  line = str(found.value)
  assert line.startswith(f"teacher {stub.url}") and "\n" not in line
  # It was told: what is asked next is another matter.
  stub.fault = lambda number, answer: answer
  answers = observe(teacher, as_batch(TASK, shown)).answers
  check_answered(teacher)
  assert np.isfinite(answers.logits()).all()


def test_nobody_there_is_one_line():
  with serve(weights()) as stub:
    teacher = teacher_of(stub)
  observe(teacher, as_batch(TASK, batch()))
  with pytest.raises(TeacherError, match="connection refused"):
    check_answered(teacher)


def test_what_fails_twice_is_asked_a_third_time(stub, monkeypatch, capfd):
  monkeypatch.setattr(time, "sleep", lambda seconds: None)
  replies = {0: (503, b"loading"), 1: None}
  stub.fault = lambda number, answer: replies.get(number, answer)
  asker = asker_of(teacher_of(stub, tries=3))
  (found,) = asker.about([np.array(TEXT)])
  assert np.isfinite(found.log_probabilities).all() and len(stub.asked) == 3
  said = capfd.readouterr().err.splitlines()
  assert ["asked again in 1 s" in said[0], "asked again in 2 s" in said[1]]


def test_4xx_is_asked_once_but_for_too_many(stub, monkeypatch):
  monkeypatch.setattr(time, "sleep", lambda seconds: None)
  for status, times in ((400, 1), (429, 3)):
    stub.asked.clear()
    stub.fault = lambda number, answer, s=status: (s, b"no")
    asker = asker_of(teacher_of(stub, tries=3))
    with pytest.raises(TeacherError, match=f"status {status}"):
      asker.about([np.array(TEXT)])
    assert len(stub.asked) == times


def test_several_models_must_be_named(stub, monkeypatch):
  models = {"data": [{"id": "a"}, {"id": "b"}]}
  monkeypatch.setattr(asking, "ask", lambda *_: json.loads(json.dumps(models)))
  with pytest.raises(TeacherError, match="name one of its models.*: a, b"):
    teacher_of(stub)
  assert asker_of(teacher_of(stub, model="b")).model == "b"


def test_a_method_of_features_is_refused(stub):
  with pytest.raises(UserError, match="shows no features"):
    observe(teacher_of(stub), as_batch(TASK, batch()), ("norm",))


def distilled(stub, folder, teacher=None, **options):
  arrays = {
    name: np.tile(x, (2, 1)) for name, x in batch(8).items() if x.ndim > 1
  }
  return kdjax.distill(
    NETWORK,
    teacher or teacher_of(stub),
    arrays,
    method=METHOD,
    task=TASK,
    optimizer=optax.sgd(0.1),
    epochs=3,
    batch_size=4,
    key=jax.random.key(0),
    variables=weights(seed=1),
    checkpoints=kdjax.Checkpoints(folder, every_steps=1),
    progress=False,
    **options,
  )


@pytest.mark.slow
@pytest.mark.parametrize("devices", [None, 2])
def test_a_training_goes_on_from_before_the_fault(
  stub, tmp_path, devices, monkeypatch
):
  monkeypatch.setattr(asking, "KEPT_BYTES", 1)
  placement = devices and kdjax.pmap(jax.devices()[:devices])
  options = {} if placement is None else {"placement": placement}
  whole = distilled(stub, tmp_path / "whole", **options)
  count = len(stub.asked)
  stub.asked.clear()
  stub.fault = lambda n, answer: (404, b"gone") if n > 0.6 * count else answer
  with pytest.raises(TeacherError, match="404, 'gone'"):
    distilled(stub, tmp_path / "cut", **options)
  reached = kdjax.Checkpoints(tmp_path / "cut").latest
  assert 0 < reached < 12
  stub.fault = lambda n, answer: answer
  resumed = distilled(stub, tmp_path / "cut", **options)
  for one, other in zip(
    *map(jax.tree.leaves, (whole.variables, resumed.variables)), strict=True
  ):
    np.testing.assert_array_equal(one, other)


def test_it_is_measured_as_the_network_in_memory_is(stub):
  shown = batch(6) | {"counts": np.arange(54).reshape(6, 9) % 3 > 0}
  options = {"task": TASK, "text_bytes": 50, "top": (1, 3)}
  served = measure_served(teacher_of(stub), shown, **options)
  local = measure_text(NETWORK, weights(), shown, **options)
  assert {*served} == {*local}
  assert served == pytest.approx(local, rel=1e-5)


@pytest.mark.slow
def test_the_distance_from_it_is_of_its_likeliest_tokens(stub):
  student, shown = weights(seed=1), batch()
  found = measure_text(
    NETWORK, student, shown, task=TASK, text_bytes=1, teacher=teacher_of(stub)
  )
  goal = kdjax.objective(kdjax.make_method(f"topk_kd(k={K}):1"), NETWORK, TASK)
  whole = measure_text(
    NETWORK, student, shown, task=TASK, text_bytes=1, teacher=LOCAL
  )
  step = kdjax.make_step(goal, optax.sgd(0.0))
  state = step.init(jax.random.key(0), student, LOCAL, shown)
  _, metrics = step.step(state, LOCAL, shown)
  loss = np.divide(*metrics["loss"])
  assert found["teacher_kl"] == pytest.approx(loss, rel=1e-5)
  assert found["teacher_kl"] < whole["teacher_kl"]
  assert found["agreement"] == whole["agreement"]


LONG = np.random.default_rng(3).integers(0, VOCABULARY, 12)


@pytest.mark.slow
def test_served_and_local_agree(stub):
  teacher = teacher_of(stub)
  check_repeatable(asker_of(teacher), LONG)
  largest = check_same_network(teacher, NETWORK, weights(), LONG)
  assert largest < 1e-5
  pattern = r"token \d+ behind place \d+ has .* served and .* in memory, more"
  with pytest.raises(TeacherError, match=pattern):
    check_same_network(teacher, NETWORK, weights(seed=1), LONG)


def test_a_teacher_that_looks_ahead_is_refused(stub):
  def ahead(number, answer):
    rows = answer["choices"][0]["prompt_logprobs"]
    for entries in rows[2:]:
      for one in entries.values():
        one["logprob"] -= len(rows) / 10
    return answer

  stub.fault = ahead
  pattern = "place 2 of a training text has .* asked about alone and"
  with pytest.raises(TeacherError, match=pattern):
    check_repeatable(asker_of(teacher_of(stub)), LONG)
