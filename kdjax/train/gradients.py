"""The gradient of a sum of losses: all at once, or term by term to measure it."""

from collections.abc import Callable, Container, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from kdjax.core.method import Method, Metrics, is_over_examples
from kdjax.core.one_pass import in_one_pass, with_logits

# Whose gradient the others are compared with.
LABELS = "ce"


def parts_of(method: Method) -> Callable:
  """Returns a method's weighted terms by name; one of its own if it is no sum.

  Example:
    >>> from kdjax.core.method import stateless
    >>> method = stateless(lambda inputs: jnp.float32(2.0))
    >>> losses, _, _ = parts_of(method)((), (), None)
    >>> {name: float(value) for name, value in losses.items()}
    {'loss': 2.0}
  """
  if method.parts is not None:
    return method.parts

  def parts(params, state, inputs):
    if method.chunked is not None:
      passes = in_one_pass({"loss": (method, 1.0)}, inputs)
      if passes.losses:
        return passes.losses, state, passes.metrics
    loss, state, metrics = method.apply(params, state, with_logits(inputs))
    return {"loss": loss}, state, metrics

  return parts


def kinds_of(
  method: Method, losses: Iterable[str], kinds: Container[str]
) -> dict[str, str]:
  """Says what each term of a loss is a mean over.

  Args:
    losses: names of its terms, as `parts_of` gives them.
    kinds: what there are counts of: "rows" and, where a row is not an example,
      "examples".

  Example:
    >>> from kdjax.core.method import stateless
    >>> method = stateless(None, student_taps=("head:in",))
    >>> kinds_of(method, ["loss"], ["rows", "examples"])
    {'loss': 'examples'}
  """
  over_examples = method.over_examples
  if not isinstance(over_examples, tuple):
    over_examples = tuple(losses) if is_over_examples(method) else ()
  if "examples" not in kinds:
    over_examples = ()
  return {
    name: "examples" if name in over_examples else "rows" for name in losses
  }


def of_sum(objective: Callable, params: Any) -> tuple[Any, Any]:
  """Differentiates the sum of the terms.

  Args:
    objective: params -> (losses by name, what else comes of it).

  Example:
    >>> print(of_sum(lambda x: ({"a": x**2, "b": 3 * x}, None), 2.0)[0])
    7.0
  """

  def total(params):
    losses, aux = objective(params)
    return sum(losses.values()), aux

  return jax.grad(total, has_aux=True)(params)


def by_term(
  objective: Callable, params: Any, over_devices: Callable[[Any], Any]
) -> tuple[Any, Any, Metrics]:
  """Differentiates term by term and measures each gradient.

  Args:
    objective: as in `of_sum`; the params have the network's at "network".

  Returns:
    The gradient of the sum, over all devices; what else came; and of each term
    the norm of its gradient in the network's parameters and its cosine with
    the labels' gradient, where the objective has labels. The cosine with a
    gradient of 0 is 0.

  Example:
    >>> objective = lambda p: (
    ...   {"ce": p["network"][0], "kd": jnp.sum(p["network"])}, None
    ... )
    >>> params = {"network": jnp.zeros(2)}
    >>> _, _, metrics = by_term(objective, params, lambda tree: tree)
    >>> print(metrics["gradient_norm/kd"][0].round(3))
    1.414
    >>> print(metrics["gradient_cosine/kd"][0].round(3))
    0.707
  """
  losses, pullback, aux = jax.vjp(objective, params, has_aux=True)
  grads = {}
  for name in losses:
    cotangents = {
      other: jnp.full_like(value, other == name)
      for other, value in losses.items()
    }
    grads[name] = over_devices(pullback(cotangents)[0])
  one = jnp.float32(1.0)
  metrics = {
    f"gradient_norm/{name}": (optax.tree.norm(grad["network"]), one)
    for name, grad in grads.items()
  }
  if LABELS in grads:
    for name in grads.keys() - {LABELS}:
      cosine = _cosine(grads[name]["network"], grads[LABELS]["network"])
      metrics[f"gradient_cosine/{name}"] = (cosine, one)
  return jax.tree.map(lambda *x: sum(x), *grads.values()), aux, metrics


def _cosine(left: Any, right: Any) -> jax.Array:
  norms = optax.tree.norm(left) * optax.tree.norm(right)
  product = optax.tree.vdot(left, right)
  return jnp.where(norms > 0, product / jnp.where(norms > 0, norms, 1.0), 0.0)
