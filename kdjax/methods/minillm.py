"""MiniLLM: the reverse KL of whole texts that the student writes."""

from kdjax.core.method import Method
from kdjax.losses import policies
from kdjax.methods._drawn import of_drawn
from kdjax.methods.registry import register


@register("minillm", objective="minillm:1")
def minillm(*, normalize: bool = True) -> Method:
  """The reverse KL of whole texts, by MiniLLM's gradient.

  gradient = sum_t w_t (grad KL(q_t || p_t) - R_(t+1) grad log q_t[y_t])

  of texts y that the student draws, alone or together with the teacher: see
  `kdjax.losses.policies.minillm`. What a token does to its own divergence is exact,
  what it does to later ones is estimated by those that were drawn; R is the mean log
  p/q of the tokens to come. `launch.py lm --distillation=minillm` draws from 0.2
  teacher + 0.8 student, as published, which the weights w correct token by token.

  Where nothing is drawn (classes, texts of files) it is the reverse KL.

  The published code also whitens R, clips, and adds the loss of a language model on
  other texts (`--policy='mixed(student=0.5)'` with a term `ce` comes near to that).

  Matched: the logits of both networks. Learned: nothing but the student.
  Default taps: none. Cost: two softmaxes over the classes, and the texts.

  Args:
    normalize: whether R is the mean over the tokens to come, or their sum.

  Returns:
    The method.

  Example:
    >>> student = Outputs(jnp.array([[0.0, 0.0]]), {})
    >>> teacher = Outputs(jnp.array([[1.0, 0.0]]), {})
    >>> inputs = Inputs(student, teacher, jnp.array([0]), jnp.array(0))
    >>> print(minillm().apply((), (), inputs)[0].round(4))
    0.1201

  Source:
    Gu, Dong, Wei, Huang 2024, arXiv:2306.08543.
  """

  def loss(log_q, log_p, divergence, mask, teacher_share):
    return policies.minillm_of(
      log_q,
      log_p,
      divergence,
      mask,
      teacher_share=teacher_share,
      normalize=normalize,
    )

  return of_drawn(loss)
