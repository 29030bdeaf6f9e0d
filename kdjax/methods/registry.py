"""The names of methods; every file of this folder joins by being there.

A method's file decorates a maker, a function of hyper-parameters that returns a
Method, with `@register("its_name", objective="ce:1 + its_name:100")`; the
objective is the published weighted sum, used where the user writes no weights.
`reads` says which kinds of answers the method can read.
"""

from collections.abc import Callable

from kdjax.core.method import Method
from kdjax.core.registry import entering
from kdjax.core.task import KINDS, Task

MAKERS: dict[str, Callable[..., Method]] = {}

# The published objective of a method, where it is no convex mix with the labels.
OBJECTIVES: dict[str, str] = {}

# Which kinds of answers a method reads, those of `kdjax.core.task.KINDS`.
READS: dict[str, tuple[str, ...]] = {}
# Methods that classify whole examples: not their pixels.
OF_EXAMPLES: set[str] = set()
# Both kinds are one logit a class; the second has two classes a row.
LOGITS = ("categories", "binary")
# What the answers of a kind are, for people.
ANSWERS = {
  "categories": "scores of classes",
  "binary": "scores of yes and no",
  "values": "numbers",
  "gaussians": "normal distributions of numbers",
  "embedding": "vectors",
}

# A family's name stands for a good default of the family.
FAMILIES = {
  "response": "kd",
  "feature": "fitnets",
  "relation": "sp",
  "attention": "attention_transfer",
}

# Names of a method with one of its settings: (method, (setting, value)).
VARIANTS: dict[str, tuple[str, tuple[str, str]]] = {}

# Whole objectives by name.
PRESETS = {
  "soft": "kd:1",
  "soft_and_hard": "kd:0.9 + ce:0.1",
  "hard": "ce:1",
  # Ko et al. 2024, arXiv:2402.03898, as their code trains.
  "distillm": "skew_reverse_kl(lam=0.1):1",
}

_enter = entering("method", MAKERS)


def why_not(name: str, task: Task) -> str | None:
  """Says in a line why a method does not read a task's answers.

  Args:
    name: of the method.
    task: whose answers they are.

  Returns:
    The reason; None where it reads them.
  """
  if task.kind in READS[name]:
    if name not in OF_EXAMPLES or task.border_target is None:
      return None
    return (
      f"classifies whole examples; {task.name} has an answer at every pixel"
    )
  reads = " or ".join(ANSWERS[kind] for kind in READS[name])
  return f"reads {reads}; the answers of {task.name} are {ANSWERS[task.kind]}"


def register(
  name: str,
  *,
  objective: str | None = None,
  reads: tuple[str, ...] = LOGITS,
  of_examples: bool = False,
) -> Callable:
  """Makes the decorator with which a method's maker enters.

  Args:
    name: the method's name; one that is there already is taken.
    objective: the weighted sum, with the method in it, that its paper or its
      authors' code trains on; by default the labels' share is `hard_weight` and
      the method has the rest.
    reads: the kinds of answers that it can read: `KINDS` where it reads features
      alone, logits of classes by default.
    of_examples: whether it wants one answer an example, not one at every pixel.

  Returns:
    The decorator; it returns the maker unchanged.

  Example:
    >>> register("kd")(lambda: None)
    Traceback (most recent call last):
    ValueError: method 'kd' is registered already
  """
  if unknown := set(reads) - set(KINDS):
    raise ValueError(f"method {name!r} reads {unknown}; kinds are {KINDS}")

  def enter(maker: Callable[..., Method]) -> Callable[..., Method]:
    maker = _enter(name)(maker)
    READS[name] = tuple(reads)
    if of_examples:
      OF_EXAMPLES.add(name)
    if objective is not None:
      OBJECTIVES[name] = objective
    return maker

  return enter
