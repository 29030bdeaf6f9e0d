"""Label-wise embeddings of networks that end in a linear layer."""

import jax.numpy as jnp
import numpy as np
import pytest

from kdjax import losses
from kdjax.core.errors import UserError
from kdjax.core.method import Inputs, Outputs
from kdjax.methods.l2d import l2d

RNG = np.random.default_rng(0)
FEATURES = [RNG.normal(size=(6, width)).astype(np.float32) for width in (4, 5)]
KERNELS = [RNG.normal(size=(width, 3)).astype(np.float32) for width in (4, 5)]
LABELS = RNG.integers(-1, 2, (6, 3)).astype(np.int32)


def inputs_of(labels=LABELS, mask=None):
  student, teacher = (
    Outputs(None, {"head:in": jnp.asarray(x)}) for x in FEATURES
  )
  heads = [{"kernel": jnp.asarray(x), "bias": jnp.zeros(3)} for x in KERNELS]
  return Inputs(
    student, teacher, labels.reshape(-1), 0,
    mask=mask, student_head=heads[0], head=heads[1],
  )  # fmt: skip


@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.0, 1.0), (2.0, 3.0)])
def test_embeddings_are_what_logits_are_sums_of(weights):
  sides = [
    jnp.asarray(h[:, None, :] * w.T[None])
    for h, w in zip(FEATURES, KERNELS, strict=True)
  ]
  np.testing.assert_allclose(
    sides[0].sum(-1), FEATURES[0] @ KERNELS[0], rtol=1e-5, atol=1e-5
  )
  want = weights[0] * losses.class_aware_embedding(*sides, LABELS) / 3
  want += weights[1] * losses.instance_aware_embedding(*sides, LABELS).mean()
  method = l2d(class_weight=weights[0], instance_weight=weights[1])
  got, *_ = method.apply((), (), inputs_of())
  assert float(got) == pytest.approx(float(want), rel=1e-5)


def test_padding_counts_nowhere():
  mask = np.arange(6) < 4
  changed = LABELS.copy()
  changed[4:] = 1
  one, other = (
    float(l2d().apply((), (), inputs_of(x, mask))[0]) for x in (LABELS, changed)
  )
  assert one == other != float(l2d().apply((), (), inputs_of(changed))[0])


def test_refused():
  with pytest.raises(ValueError, match="class_weight"):
    l2d(class_weight=-1)
  without = inputs_of()._replace(student_head=None)
  with pytest.raises(UserError, match="linear classifier"):
    l2d().apply((), (), without)
