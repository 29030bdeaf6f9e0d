"""The closed form: entropies from the squared Jacobian of the layer."""

import jax
import jax.numpy as jnp

from kdjax.evaluate.knowledge.cells import cell_sums
from kdjax.evaluate.knowledge.problem import (
  Estimate,
  Feature,
  Problem,
  flat,
  make_estimate,
)

# Passes written out one after the other: a scan is slow for convolutions on the
# CPU, and longer programs are slow to compile.
UNROLLED = 8


def jacobian(
  feature: Feature,
  images: jax.Array,
  keys: jax.Array | None,
  problem: Problem,
  *,
  probes: int = 32,
  at_once: int | None = None,
) -> Estimate:
  """Entropies of a layer that is taken to be linear near each image.

  A_g = sum_{p in g, d} J_dp^2,  s_f^2 = s0^2 sum_g A_g / D
  sigma_g^2 = weight D s_f^2 / (2 G A_g), clipped to the bounds

  The objective of `problem` solved exactly for a linear layer (set its
  derivative by sigma_g to zero). Where the first derivative vanishes but the
  second does not, it overstates the entropy: compare with `optimise`.

  Args:
    feature: images -> (B, ...), each example on its own.
    images: (B, H, W, C) float32.
    keys: (B,) PRNG keys, one an image; None computes the whole Jacobian.
    probes: random vectors per image; not used without keys.
    at_once: probes in one pass, a divisor of probes; all by default, fewer take
      less memory. More than 8 passes run in a scan, slow for convolutions on the
      CPU.

  Returns:
    The estimate; steps are 0.

  Source:
    Objective: Cheng et al. 2020, arXiv:2003.03622. Closed form: ours.
  """
  squares = squared_jacobian(
    feature, images, keys, probes=probes, at_once=at_once
  )
  cells = cell_sums(squares, problem.grid)
  total = jnp.sum(cells, axis=(1, 2))
  valid = total > 0
  # A cell that is not looked at divides by zero: it ends at the upper bound.
  share = cells / jnp.where(valid, total, 1.0)[:, None, None]
  count = problem.grid[0] * problem.grid[1]
  scale = problem.weight * problem.reference**2 / (2 * count)
  variance = scale / jnp.maximum(share, 1e-30)
  variance = jnp.clip(variance, problem.lowest**2, problem.highest**2)
  ratio = jnp.sum(share * variance, axis=(1, 2)) / problem.reference**2
  steps = jnp.zeros(images.shape[0], jnp.int32)
  return make_estimate(jnp.sqrt(variance), valid, ratio, steps, problem)


def squared_jacobian(
  feature: Feature,
  images: jax.Array,
  keys: jax.Array | None,
  *,
  probes: int = 32,
  at_once: int | None = None,
) -> jax.Array:
  """Sums the squared Jacobian over features and channels, for every pixel.

  sum_d J_dp^2 = E_v (J^T v)_p^2 for v of independent signs (Rademacher probes).

  Args:
    images: (B, H, W, C) float32.
    keys: (B,) PRNG keys; None computes the whole Jacobian, D products.

  Returns:
    (B, H, W) float32, >= 0.

  Example:
    >>> double = lambda images: 2 * images
    >>> print(squared_jacobian(double, jnp.ones((1, 1, 2, 1)), None))
    [[[4. 4.]]]
  """
  features, pull = jax.vjp(lambda x: flat(feature(x)), images)
  width = features.shape[1]

  def squares(vectors_PxBxD):
    (products,) = jax.vmap(pull)(vectors_PxBxD)
    return jnp.sum(products.astype(jnp.float32) ** 2, axis=(0, -1))

  if keys is None:
    shape = (width, images.shape[0], width)
    return squares(jnp.broadcast_to(jnp.eye(width)[:, None], shape))
  at_once = at_once or probes
  if probes % at_once:
    raise ValueError(f"at_once={at_once} does not divide {probes} probes")

  def some(first):
    def draw(key, number):
      return jax.random.rademacher(
        jax.random.fold_in(key, number), (width,), jnp.float32
      )

    numbers = first + jnp.arange(at_once)
    return squares(
      jax.vmap(lambda n: jax.vmap(lambda key: draw(key, n))(keys))(numbers)
    )

  rounds = range(0, probes, at_once)
  if len(rounds) <= UNROLLED:
    return sum(map(some, rounds)) / probes
  zeros = jnp.zeros(images.shape[:3], jnp.float32)
  total, _ = jax.lax.scan(
    lambda total, first: (total + some(first), None), zeros, jnp.array(rounds)
  )
  return total / probes
