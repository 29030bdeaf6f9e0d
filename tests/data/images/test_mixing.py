"""mixup and cutmix: by hand, whatever the devices, and never with padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.core.errors import UserError
from kdjax.data import split_mixing

KEY = jax.random.key(3)
IMAGES = jax.random.uniform(jax.random.key(0), (12, 6, 8, 2))
POSITIONS = jnp.arange(12)


def mixed(text, count=12, positions=POSITIONS, key=KEY):
  _, mixing = split_mixing(text)
  found = mixing(key, IMAGES[positions], positions, IMAGES, count)
  return [np.asarray(x) for x in found]


@pytest.mark.parametrize("alpha", [1, 0.3])
def test_mixup_by_hand(alpha):
  images, partners, share = mixed(f"mixup({alpha})")
  own, other = np.asarray(IMAGES), np.asarray(IMAGES)[partners]
  for i in range(12):
    want = share[i] * own[i] + (1 - share[i]) * other[i]
    np.testing.assert_allclose(images[i], want, atol=1e-6)
  assert (share >= 0).all() and (share <= 1).all() and len(set(share)) > 6


def test_cutmix_by_hand():
  """Every pixel is one's own or the partner's; the latter form a rectangle."""
  images, partners, share = mixed("cutmix")
  own, other = np.asarray(IMAGES), np.asarray(IMAGES)[partners]
  for i in range(12):
    pasted = (images[i] != own[i]).any(axis=-1)
    np.testing.assert_array_equal(images[i][pasted], other[i][pasted])
    rectangle = pasted.any(axis=1)[:, None] & pasted.any(axis=0)[None]
    np.testing.assert_array_equal(pasted, rectangle)
    assert share[i] == pytest.approx(1 - pasted.mean())
  assert len(set(share)) > 6


@pytest.mark.parametrize("text", ["mixup", "cutmix"])
@pytest.mark.parametrize(
  ("count", "partners"),
  [
    (12, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0]),
    (5, [1, 2, 3, 4, 0]),
    (1, [0]),
  ],
)
def test_partners_are_real_examples(text, count, partners):
  images, found, _ = mixed(text, count)
  np.testing.assert_array_equal(found[:count], partners)
  assert (found < count).all()
  assert np.isfinite(images).all()


def test_an_example_alone_stays_as_it_is():
  np.testing.assert_allclose(mixed("mixup", 1)[0][0], IMAGES[0], atol=1e-6)


@pytest.mark.parametrize("text", ["mixup", "mixup(0.2)", "cutmix(2.0)"])
def test_a_share_of_a_batch_is_mixed_as_the_whole(text):
  whole = mixed(text)
  part = mixed(text, positions=POSITIONS[4:8])
  for a, b in zip(whole, part, strict=True):
    np.testing.assert_array_equal(a[4:8], b)
  for a, b in zip(whole, mixed(text), strict=True):
    np.testing.assert_array_equal(a, b)
  assert (mixed(text, key=jax.random.key(4))[2] != whole[2]).any()


@pytest.mark.parametrize(
  ("alpha", "variance"),
  [
    (0.2, 1 / (4 * 1.4)),
    *(
      pytest.param(*case, marks=pytest.mark.slow)
      for case in ((1, 1 / 12), (3, 1 / 28))
    ),
  ],
)
def test_shares_are_beta(alpha, variance):
  many = np.zeros((4000, 1, 1, 1), np.float32)
  draw = jax.jit(split_mixing(f"mixup({alpha})")[1], static_argnums=4)
  share = np.asarray(draw(KEY, many, np.arange(4000), many, 4000)[2])
  assert share.mean() == pytest.approx(0.5, abs=0.03)
  assert share.var() == pytest.approx(variance, rel=0.1)


@pytest.mark.parametrize(
  ("text", "view", "mixes"),
  [
    ("none", "none", False),
    ("shift(2) + flip", "shift(2) + flip", False),
    ("mixup", "none", True),
    ("shift(2) + flip + cutmix(0.5)", "shift(2) + flip", True),
  ],
)
def test_mixing_is_taken_off(text, view, mixes):
  found, mixing = split_mixing(text)
  assert (found, mixing is not None) == (view, mixes)


@pytest.mark.parametrize(
  ("text", "said"),
  [
    ("mixup + flip", "last"),
    ("mixup + cutmix", "last, once"),
    ("mixup(0)", "> 0"),
    ("mixup(alpha=inf)", "> 0"),
    ("cutmix(True)", "> 0"),
    ("cutmix(beta=1)", "beta"),
    ("mixup:0.5", "weight"),
  ],
)
def test_bad_mixing(text, said):
  with pytest.raises(UserError, match=said):
    split_mixing(text)
