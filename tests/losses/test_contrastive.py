"""CRD: a value by hand, both gradients, log space, the memory."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import losses

from kdjax.losses import _features, contrastive


def example(seed=0, n=4, d=6, bank=20, samples=5):
  keys = jax.random.split(jax.random.key(seed), 5)

  def unit_rows(key, count):
    x = jax.random.normal(key, (count, d))
    return x / jnp.linalg.norm(x, axis=1, keepdims=True)

  return (
    unit_rows(keys[0], n),
    unit_rows(keys[1], n),
    unit_rows(keys[2], bank),
    unit_rows(keys[3], bank),
    jax.random.randint(keys[4], (n, samples), 0, bank),
  )


def test_value_by_hand():
  # u = v = (e, 1) / z at T = 1, one negative in a memory of two: c = 1/2.
  one = jnp.array([[1.0, 0.0]])
  bank, indices = jnp.eye(2), jnp.array([[0, 1]])
  z, c = 2.0, 0.5
  expected = 2 * (
    -math.log((math.e / z) / (math.e / z + c)) - math.log(c / (1 / z + c))
  )
  loss = losses.crd(
    one,
    one,
    bank,
    bank,
    indices,
    temperature=1.0,
    z_student=z,
    z_teacher=z,
    eps=0.0,
  )
  np.testing.assert_allclose(loss, [expected], rtol=1e-6)


def crd_by_definition(s, t, bank_s, bank_t, indices, temperature, eps=1e-7):
  """In float64, as it is written, with the constants of this batch."""
  indices = np.asarray(indices)
  sides = []
  for x, bank in ((s, bank_t), (t, bank_s)):
    x, bank = np.asarray(x, np.float64), np.asarray(bank, np.float64)
    scores = np.exp(np.einsum("nd,nkd->nk", x, bank[indices]) / temperature)
    u = scores / (len(bank) * scores.mean())
    c = (indices.shape[1] - 1) / len(bank)
    sides.append(
      -np.log(u[:, 0] / (u[:, 0] + c + eps))
      - np.log(c / (u[:, 1:] + c + eps)).sum(1)
    )
  return sum(sides)


@pytest.mark.parametrize("whole_bank", [0, 1000], ids=["gathered", "product"])
@pytest.mark.parametrize("block", [1 << 22, 1], ids=["at once", "in blocks"])
def test_crd_is_its_definition(monkeypatch, whole_bank, block):
  monkeypatch.setattr(contrastive, "_WHOLE_BANK", whole_bank)
  monkeypatch.setattr(_features, "BLOCK", block)
  arrays = example()
  # Compiled anew, so that patched settings are seen.
  loss = jax.jit(functools.partial(contrastive.crd, temperature=0.1))(*arrays)
  np.testing.assert_allclose(
    loss, crd_by_definition(*arrays, temperature=0.1), rtol=1e-5
  )


def test_the_constant_of_the_batch_can_be_kept():
  arrays = example()
  loss = functools.partial(losses.crd, *arrays, temperature=0.1)
  constants = [
    20 * jnp.mean(jnp.exp(jnp.einsum("nd,nkd->nk", x, bank[arrays[4]]) / 0.1))
    for x, bank in ((arrays[0], arrays[3]), (arrays[1], arrays[2]))
  ]
  np.testing.assert_allclose(
    loss(z_student=constants[0], z_teacher=constants[1]), loss(), rtol=1e-5
  )


@pytest.mark.parametrize("whole_bank", [0, 1000], ids=["gathered", "product"])
def test_both_embeddings_learn_and_the_memory_does_not(monkeypatch, whole_bank):
  monkeypatch.setattr(contrastive, "_WHOLE_BANK", whole_bank)
  *arrays, indices = example()

  def loss(*arrays):
    return contrastive.crd(*arrays, indices).sum()

  slopes = jax.jit(jax.grad(loss, (0, 1, 2, 3)))
  student, teacher, *banks = slopes(*arrays)
  assert student.any()
  assert teacher.any()
  for bank in banks:
    np.testing.assert_array_equal(bank, 0)
  # The two sides are the same formula with the banks exchanged.
  s, t, bank_s, bank_t = arrays
  swapped = slopes(t, s, bank_t, bank_s)
  np.testing.assert_allclose(swapped[0], teacher, rtol=1e-5)
  np.testing.assert_allclose(swapped[1], student, rtol=1e-5)


def test_the_batches_own_constant_gets_no_gradient():
  *arrays, indices = example()
  s, t, bank_s, bank_t = arrays
  z = 20 * jnp.mean(
    jnp.exp(jnp.einsum("nd,nkd->nk", s, bank_t[indices]) / 0.07)
  )

  def loss(s, z):
    return losses.crd(s, t, bank_s, bank_t, indices, z_student=z).sum()

  slope = jax.jit(jax.grad(loss))
  np.testing.assert_allclose(slope(s, None), slope(s, z), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("temperature", [1e-4, 0.01, 100.0])
def test_finite_for_any_temperature(temperature):
  *arrays, indices = example()

  def loss(s, t):
    return losses.crd(s, t, *arrays[2:], indices, temperature=temperature).sum()

  value, gradients = jax.jit(jax.value_and_grad(loss, (0, 1)))(*arrays[:2])
  assert jnp.isfinite(value)
  assert all(jnp.isfinite(gradient).all() for gradient in gradients)


# old row, embedding, momentum, expected row
UPDATES = {
  "half": ((1.0, 0.0), (0.0, 1.0), 0.5, (0.5**0.5, 0.5**0.5)),
  "all old": ((1.0, 0.0), (0.0, 1.0), 1.0, (1.0, 0.0)),
  "all new": ((1.0, 0.0), (0.0, 1.0), 0.0, (0.0, 1.0)),
  "3 : 4": ((0.0, 1.0), (1.0, 0.0), 0.5714286, (0.6, 0.8)),
  "opposites leave nothing": ((1.0, 0.0), (-1.0, 0.0), 0.5, (0.0, 0.0)),
}


@pytest.mark.parametrize(
  ("row", "embedding", "momentum", "expected"), UPDATES.values(), ids=UPDATES
)
def test_update_by_hand(row, embedding, momentum, expected):
  bank = jnp.array([[9.0, 9.0], row, [9.0, 9.0]])
  updated = losses.crd_update(
    bank, jnp.array([embedding]), jnp.array([1]), momentum=momentum
  )
  np.testing.assert_allclose(updated[1], expected, rtol=1e-6, atol=1e-7)
  np.testing.assert_array_equal(updated[::2], bank[::2])


def seed_by_definition(s, t, queue, temperature, teacher_temperature, mask):
  """In float64, row by row."""
  s, t, queue = (
    x / np.linalg.norm(x, axis=1, keepdims=True)
    for x in (np.float64(x) for x in (s, t, queue))
  )
  values = []
  for row in range(len(s)):
    others = np.concatenate([t[row : row + 1], queue[mask[row]]])
    p, q = (
      np.exp(x @ others.T / warmth)
      for x, warmth in ((t[row], teacher_temperature), (s[row], temperature))
    )
    p, q = p / p.sum(), q / q.sum()
    values.append(np.sum(p * np.log(p / q)))
  return values


@pytest.mark.parametrize("masked", [False, True])
def test_seed_is_its_definition(masked):
  s, t, queue, *_ = (3 * np.asarray(x) for x in example())
  mask = np.ones((len(s), len(queue)), bool)
  mask[:, ::3] = not masked
  mask[1, 4] = not masked
  temperatures = {"temperature": 0.2, "teacher_temperature": 0.05}
  loss = losses.seed(s, t, queue, mask=mask if masked else None, **temperatures)
  expected = seed_by_definition(s, t, queue, *temperatures.values(), mask)
  np.testing.assert_allclose(loss, expected, rtol=2e-4, atol=1e-6)


def test_seed_by_hand():
  # Cosines (1, 0) of the teacher, (0, 1) of the student, at T = 1: p = (e, 1) / (e
  # + 1), q the other way round, and KL = (p_0 - p_1) log(p_0 / p_1) = p_0 - p_1.
  eye = jnp.eye(2)
  loss = losses.seed(
    eye[1:], eye[:1], eye[1:], temperature=1.0, teacher_temperature=1.0
  )
  expected = (math.e - 1) / (math.e + 1)
  np.testing.assert_allclose(loss, [expected], rtol=1e-6)
  nothing = losses.seed(eye[1:], eye[:1], eye[1:], mask=jnp.array([False]))
  np.testing.assert_array_equal(nothing, [0.0])


S, T, BANK_S, BANK_T, INDICES = example()
REFUSED = {
  "crd": lambda: losses.crd(S, T[:2], BANK_S, BANK_T, INDICES),
  "crd: banks": lambda: losses.crd(S, T, BANK_S, BANK_T[:3], INDICES),
  "crd: dimensions": lambda: losses.crd(
    S, T, BANK_S[:, :2], BANK_T[:, :2], INDICES
  ),
  "crd: no negative": lambda: losses.crd(S, T, BANK_S, BANK_T, INDICES[:, :1]),
  "crd: batch": lambda: losses.crd(S, T, BANK_S, BANK_T, INDICES[:2]),
  "seed": lambda: losses.seed(S, T[:2], BANK_T),
  "seed: dimensions": lambda: losses.seed(S, T, BANK_T[:, :2]),
  "seed: mask": lambda: losses.seed(S, T, BANK_T, mask=jnp.ones(3, bool)),
  "crd_update": lambda: losses.crd_update(BANK_S, S, INDICES),
  "crd_update: batch": lambda: losses.crd_update(BANK_S, S, INDICES[:2, 0]),
}


@pytest.mark.parametrize(("message", "call"), REFUSED.items(), ids=REFUSED)
def test_refused_shapes_are_named(message, call):
  with pytest.raises(ValueError, match=message.split(":")[0]) as error:
    call()
  assert str(error.value).count("(") >= 2, "both shapes"
