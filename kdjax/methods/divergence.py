"""Any of the divergences between the softened classes of the two networks."""

import functools

import jax

from kdjax import losses
from kdjax.core.errors import UserError, unknown_name
from kdjax.core.method import Method, stateless
from kdjax.core.schedule import Schedule, at, check_static, check_value
from kdjax.methods.registry import VARIANTS, register

# The loss, and what it calls the share that it takes, if any.
KINDS = {
  "forward_kl": (losses.forward_kl, None),
  "reverse_kl": (losses.reverse_kl, None),
  "symmetric_kl": (losses.symmetric_kl, "lam"),
  "jensen_shannon": (losses.jensen_shannon, None),
  "skew_kl": (losses.skew_kl, "lam"),
  "skew_reverse_kl": (losses.skew_reverse_kl, "lam"),
  "tvd": (losses.tvd, None),
  "adaptive_kl": (losses.adaptive_kl, "mu"),
  "generalized_jsd": (losses.generalized_jsd, "beta"),
  "soft_cross_entropy": (losses.soft_cross_entropy, None),
}
VARIANTS.update({kind: ("divergence", ("kind", kind)) for kind in KINDS})


@register("divergence")
def divergence(
  *,
  kind: str = "reverse_kl",
  temperature: float | jax.Array | Schedule = 1.0,
  share: float | None = None,
  t_squared: bool = False,
  **named_share: float,
) -> Method:
  """A divergence between the softened classes, other than `kd`'s.

  loss = D(p, q),  p = softmax(teacher / T),  q = softmax(student / T),
  and D one of

  forward_kl       KL(p || q), as `kd` has it
  reverse_kl       KL(q || p): the student keeps to where the teacher has mass
  symmetric_kl     (1 - share) KL(p || q) + share KL(q || p); share 0.5
  jensen_shannon   half the KLs to the mean of both; bounded by log 2
  skew_kl          KL(p || share p + (1 - share) q); share 0.1
  skew_reverse_kl  KL(q || (1 - share) p + share q); share 0.1
  tvd              half the summed absolute differences
  adaptive_kl      both KLs, weighted by where the two differ; the teacher's
                   largest classes with mass `share` are its head; share 0.5
  generalized_jsd  share KL(p || m) + (1 - share) KL(q || m) with
                   m = share p + (1 - share) q; share 0.5; at 0 and 1 the KLs
  soft_cross_entropy  - sum p log q: forward_kl, but for a constant

  A kind is also a name of its own: `tvd(temperature=2)`, and the share has the
  name that the loss gives it: `skew_kl(lam=0.1)`, `generalized_jsd(beta=0.5)`.

  As published T^2 is left out; no weights are published for images, so the
  labels' share is `hard_weight`, as with `kd`.

  Matched: the logits of both networks. Learned: nothing but the student.
  Default taps: none. Cost: two softmaxes over the classes; adaptive_kl sorts.

  Args:
    kind: which divergence.
    temperature: T > 0, no unit; a number or a schedule.
    share: as above, in (0, 1), for the kinds that have one, [0, 1] for
      generalized_jsd; None for its default.
    t_squared: whether to multiply by T^2.
    **named_share: the same under its own name, lam, mu or beta.

  Returns:
    The method.

  Raises:
    UserError: for an unknown kind, and for a share by another name than its own.
    ValueError: for a temperature that is not > 0, a share outside (0, 1), or
      one for a kind that has none.

  Example:
    >>> student = Outputs(jnp.array([[0.0, 0.0]]), {})
    >>> teacher = Outputs(jnp.array([[1.0, 0.0]]), {})
    >>> inputs = Inputs(student, teacher, jnp.array([0]), jnp.array(0))
    >>> loss, _, _ = divergence(kind="tvd").apply((), (), inputs)
    >>> print(f"{loss:.4f}")
    0.2311

  Source:
    reverse_kl: Gu et al. 2024, arXiv:2306.08543; skew: Ko et al. 2024,
    arXiv:2402.03898; jensen_shannon: Agarwal et al. 2024, arXiv:2306.13649;
    tvd: Wen et al. 2023, arXiv:2307.15190; adaptive_kl: Wu et al. 2024,
    arXiv:2404.02657. `kdjax.losses` has a function of each kind's name.
  """
  if kind not in KINDS:
    raise unknown_name("kind of divergence", kind, KINDS)
  check_value("temperature", temperature, lambda value: value > 0)
  function, takes = KINDS[kind]
  settings = named_share if share is None else {"share": share, **named_share}
  if takes is None and "share" in settings:
    raise ValueError(f"{kind} has no share, got share={share!r}")
  if settings.keys() - {"share", takes} or len(settings) > 1:
    raise UserError(
      f"{kind} takes"
      f" {'no share' if takes is None else f'its share as share or {takes}'},"
      f" got {', '.join(f'{name}={x!r}' for name, x in settings.items())}"
    )
  for value in settings.values():
    settings = {takes: value}
    check_static(
      takes,
      value,
      lambda value: 0 <= value <= 1 if takes == "beta" else 0 < value < 1,
    )
  return stateless(
    lambda inputs: function(
      inputs.student.answers,
      inputs.teacher.answers,
      temperature=at(temperature, inputs.step),
      t_squared=t_squared,
      **settings,
    ),
    chunked=lambda inputs: functools.partial(
      getattr(losses.chunked, kind),
      temperature=at(temperature, inputs.step),
      t_squared=t_squared,
      **settings,
    ),
  )
