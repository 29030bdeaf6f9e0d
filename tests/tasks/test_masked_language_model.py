"""Masked language models as a task: which tokens are hidden, and what is scored."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from documented_code import code_of, loaded, page
from scipy import special, stats

import kdjax
from kdjax import tasks
from kdjax.core.errors import UserError
from kdjax.models import make_model
from kdjax.tasks import masked_language_model
from kdjax.tasks._masked_tokens import Masking, candidates, hide, keys_of

V, MASK, SPECIAL = 50, 4, (0, 1, 2, 3, 4)
TASK = masked_language_model(V, mask_token=MASK, special=SPECIAL)
RNG = np.random.default_rng(0)
# Texts of 1 to 20 tokens between a token of their beginning and one of their end.
LENGTHS = np.arange(64) % 20 + 3
REAL = np.arange(24)[None] < LENGTHS[:, None]
TOKENS = np.where(REAL, RNG.integers(5, V, (64, 24)), 0).astype(np.int32)
TOKENS[:, 0] = 1
TOKENS[np.arange(64), LENGTHS - 1] = 2
ITEM = {"tokens": TOKENS, "mask": REAL}
hide_in = jax.jit(hide, static_argnums=3)


@jax.jit
def batch_of(item):
  return TASK.batch(item)


BATCH = jax.device_get(batch_of(ITEM))
PLACES, TARGETS = BATCH.inputs["places"], BATCH.targets
CHOSEN = TARGETS >= 0


def test_how_many_are_chosen():
  """By hand: 15 % of the tokens that are no padding, rounded, and one at least."""
  counts = [max(1, round(0.15 * (length - 2))) for length in LENGTHS]
  assert CHOSEN.sum(axis=1).tolist() == counts
  assert PLACES.shape == (64, round(0.15 * 24))


def test_what_is_chosen():
  for row in range(64):
    places = PLACES[row][CHOSEN[row]]
    assert len({*places}) == len(places)
    assert (places > 0).all() and (places < LENGTHS[row] - 1).all()
    assert (TARGETS[row][CHOSEN[row]] == TOKENS[row, places]).all()
    others = np.setdiff1d(np.arange(24), places)
    assert (BATCH.inputs["tokens"][row, others] == TOKENS[row, others]).all()


def many(rate=0.15, rows=4000):
  """Many texts of 20 tokens without any that is special."""
  tokens = np.random.default_rng(1).integers(5, V, (rows, 20)).astype(np.int32)
  keys = keys_of(jax.random.key(3), jnp.arange(rows))
  fine = candidates(tokens, None, SPECIAL)
  masking = Masking(V, MASK, SPECIAL, rate)
  return tokens, jax.device_get(hide_in(keys, jnp.array(tokens), fine, masking))


def test_eighty_ten_ten():
  tokens, hidden = many()
  rows = np.arange(len(tokens))[:, None]
  before, after = hidden.targets, hidden.tokens[rows, hidden.places]
  masked = after == MASK
  same = after == before
  total = before.size
  assert total == 12000 and (before == tokens[rows, hidden.places]).all()
  # Of those replaced by any token one in V is the token itself, or the mask's.
  shares = np.array([0.8 + 0.1 / V, 0.1 + 0.1 / V, 0.1 - 0.2 / V])
  counts = np.array([masked.sum(), same.sum(), (~masked & ~same).sum()])
  assert stats.chisquare(counts, shares * total).pvalue > 1e-3
  # Others are refused: no tenth is random, all is masked.
  assert (
    stats.chisquare(counts, [0.9 * total, 0.05 * total, 0.05 * total]).pvalue
    < 1e-9
  )
  replaced = np.bincount(after[~masked & ~same], minlength=V)
  assert stats.chisquare(np.delete(replaced, MASK)).pvalue > 1e-3


def test_all_places_are_as_likely():
  _, hidden = many()
  assert stats.chisquare(np.bincount(hidden.places.ravel())).pvalue > 1e-3


ORDERS = {
  "one alone": [7],
  "backwards": np.arange(64)[::-1],
  "another half": np.arange(32, 64),
  "twice": [5, 5],
}


@pytest.mark.parametrize("name", ORDERS)
def test_a_text_is_hidden_alike_in_any_batch(name):
  which = np.array(ORDERS[name])
  part = {key: x[which] for key, x in ITEM.items()} | {"index": which}
  batch = batch_of(part)
  for key, x in batch.inputs.items():
    np.testing.assert_array_equal(x, BATCH.inputs[key][which], key)
  np.testing.assert_array_equal(batch.targets, TARGETS[which])


def test_views_and_seeds_differ():
  views = [batch_of({**ITEM, "view": np.full(64, i)}) for i in (0, 1)]
  other = masked_language_model(V, mask_token=MASK, special=SPECIAL, seed=1)
  seeds = jax.jit(other.batch)(ITEM)
  np.testing.assert_array_equal(views[0].targets, TARGETS)
  differ = np.asarray(views[1].targets) != TARGETS
  assert differ[CHOSEN].mean() > 0.5
  assert (np.asarray(seeds.targets) != TARGETS)[CHOSEN].mean() > 0.5
  assert TASK is masked_language_model(V, mask_token=MASK, special=SPECIAL)


def test_a_text_without_a_word_has_no_row():
  item = {"tokens": jnp.array([[1, 2, 0, 0], [0, 0, 0, 0], [1, 9, 2, 0]])}
  batch = batch_of(item)
  assert batch.targets.tolist() == [[-1], [-1], [9]]
  assert TASK.weights(batch).rows.tolist() == [0, 0, 1]


def test_losses_and_scores_by_numpy():
  logits = RNG.normal(size=(*TARGETS.shape, V + 3)).astype(np.float32)
  rows = TASK.rows(jnp.array(logits), jax.tree.map(jnp.array, BATCH))
  log_q = special.log_softmax(logits[..., :V].astype(float), axis=-1)
  nats = -np.take_along_axis(log_q, np.maximum(TARGETS, 0)[..., None], -1)
  loss = np.where(CHOSEN, nats[..., 0], 0)
  np.testing.assert_allclose(TASK.hard_loss(rows), loss.ravel(), atol=1e-5)
  right = (log_q.argmax(-1) == TARGETS) & CHOSEN
  told, count = TASK.metrics["accuracy"](rows)
  assert (int(told), int(count)) == (right.sum(), CHOSEN.sum())
  total, count = TASK.metrics["nats_per_token"](rows)
  np.testing.assert_allclose(
    total / count, loss.sum() / CHOSEN.sum(), rtol=1e-5
  )


def network(width=8):
  sizes = f"width={width}, depth=2, heads=2, mlp=16, positions=24"
  spec = f"masked_bert({sizes}, dropout=0.0)"
  return kdjax.from_linen(make_model(spec, classes=V))


def trained(
  placement, factored_from, objective="kd(temperature=2):5 + ce:2 + minilmv2:1"
):
  task = masked_language_model(
    V, mask_token=MASK, special=SPECIAL, factored_from=factored_from
  )
  teacher_network = network(16)
  teacher = kdjax.live_teacher(
    teacher_network,
    teacher_network.init(jax.random.key(1), task.batch(ITEM).inputs),
  )
  goal = kdjax.objective(
    kdjax.make_method(objective, task=task), network(), task
  )
  step = kdjax.make_step(goal, optax.sgd(0.1), placement)
  state = step.init(jax.random.key(0), None, teacher, ITEM)
  for start in (0, 32):
    part = {name: x[start : start + 32] for name, x in ITEM.items()}
    part["index"] = np.arange(start, start + 32)
    state, metrics = step.step(state, teacher, part)
  return jax.device_get((step.variables(state), metrics))


@pytest.mark.slow
def test_two_devices_and_factored_answers_are_the_same():
  expected, metrics = trained(kdjax.jit(), None)
  assert metrics["accuracy"][1] == CHOSEN[32:].sum()
  for placement, factored_from in ((kdjax.pmap(), None), (kdjax.jit(), 10)):
    variables, _ = trained(placement, factored_from)
    for one, other in zip(
      jax.tree.leaves(variables), jax.tree.leaves(expected), strict=True
    ):
      np.testing.assert_allclose(one, other, atol=2e-6)


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"vocabulary": 1}, "vocabulary"),
    (
      {"vocabulary": 50, "mask_token": 103},
      r"mask_token must be in .* got 103",
    ),
    ({"rate": 0.0}, r"rate must be in \(0, 1\), got 0.0"),
    ({"rate": 1}, "rate must be in"),
    ({"rate": True}, "rate must be in"),
    ({"seed": -1}, "seed"),
    ({"special": (0, 0.5)}, "special"),
    ({"inputs": 3}, "inputs"),
  ],
)
def test_settings_that_are_refused(settings, message):
  with pytest.raises(UserError, match=message):
    masked_language_model(**settings)


@pytest.mark.parametrize(
  "tokens", [jnp.ones((2, 3)), jnp.ones(3, int), jnp.ones((2, 3, 1), int)]
)
def test_tokens_that_are_refused(tokens):
  with pytest.raises(
    UserError, match=r"entry 'tokens' .* whole numbers, \(B, T\)"
  ):
    TASK.batch({"tokens": tokens})


def test_the_signature_has_a_logit_a_chosen_token():
  one = jax.tree.map(lambda x: x[0], BATCH.inputs)
  (output,) = TASK.signature(one, V).outputs
  assert output.shape == (4, V)
  assert tasks.make_task("masked_language_model", classes=2).width == 30522


@pytest.mark.slow
def test_the_page_s_example_learns(tmp_path):
  code = code_of(page("general_distillation.md"))
  with loaded(code, tmp_path / "triple_loss.py") as module:
    (epoch,) = module.students.history
  assert {"kd", "ce", "cosine"} <= set(epoch)
