"""One grammar for methods, models, data sets, optimisers and schedules.

A spec is a name with optional arguments, `name(4, key=value)`. Values are Python
literals or specs themselves; nothing is ever evaluated. A sum of specs, each
with an optional weight behind a colon, describes a weighted combination:

    kd(temperature=8):0.9 + ce:0.1
    kd:linear(0.0, 0.9, 1000) + ce
"""

import ast
import dataclasses
import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from kdjax.core.errors import UserError, unknown_name

# What makers are told by the run.
RUN_KNOWS = {"classes", "examples", "steps"}
# And those of data sets.
RUN_KNOWS |= {"data_dir", "splits", "image_size", "resident_bytes"}
RUN_KNOWS |= {"background", "masks", "label_kind"}
# What the parser raises: for bytes that are no UTF-8, and for hundreds of
# brackets in one another.
_UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)


@dataclasses.dataclass(frozen=True)
class Spec:
  """A name with arguments, as written by the user."""

  name: str
  args: tuple = ()
  kwargs: tuple[tuple[str, Any], ...] = ()

  def __str__(self) -> str:
    if not self.args and not self.kwargs:
      return self.name
    arguments = [repr(value) for value in self.args]
    arguments += [f"{key}={value!r}" for key, value in self.kwargs]
    return f"{self.name}({', '.join(arguments)})"

  # In an error's text, "got nan" and "got (0.5, inf)".
  __repr__ = __str__


class Term(NamedTuple):
  """One summand: a spec and its weight, None where none was written."""

  spec: Spec
  weight: float | Spec | None = None

  def __str__(self) -> str:
    if self.weight is None:
      return str(self.spec)
    return f"{self.spec}:{self.weight!r}"


def parse(text: str) -> Spec:
  """Reads `name` or `name(arguments)`.

  Args:
    text: for example "mlp(100, dropout=0.5)".

  Returns:
    The Spec; its values are literals or Specs.

  Raises:
    UserError: if the text is no spec; says what is wrong with it.

  Example:
    >>> parse("kd(temperature=(8,), standardize=True)").kwargs
    (('temperature', (8,)), ('standardize', True))
  """
  try:
    node = ast.parse(text.strip(), mode="eval").body
  except _UNREADABLE as error:
    reason = error.msg if isinstance(error, SyntaxError) else "no plain text"
    raise UserError(
      f"cannot read {text!r} as a name with arguments, such as"
      f" 'mlp(100, dropout=0.5)': {reason}"
    ) from None
  value = _value(node, text)
  if not isinstance(value, Spec):
    raise UserError(f"{text!r} must begin with a name, such as 'kd'")
  return value


def parse_value(text: str) -> Any:
  """Reads a literal (number, string, tuple, ...) or a spec.

  Args:
    text: for example "4", "linear(8, 1, 1000)".

  Returns:
    A Python literal or a Spec.

  Raises:
    UserError: if the text is neither.

  Example:
    >>> parse_value("4.0"), parse_value("linear(8, 1, 1000)").name
    (4.0, 'linear')
  """
  try:
    return _value(ast.parse(text.strip(), mode="eval").body, text)
  except _UNREADABLE:
    raise UserError(f"cannot read {text!r} as a value or a name") from None


def parse_sum(text: str) -> tuple[Term, ...]:
  """Reads a weighted sum of specs.

  Args:
    text: for example "kd(temperature=8):0.9 + ce:0.1".

  Returns:
    One Term a summand; a weight is a float, a Spec (a schedule) or None.

  Raises:
    UserError: if a summand is empty, or a weight no number or schedule.

  Example:
    >>> [str(term) for term in parse_sum("kd(temperature=8):0.9 + ce:0.1")]
    ['kd(temperature=8):0.9', 'ce:0.1']
  """
  terms = []
  for part in _split(text, "+"):
    pieces = _split(part, ":")
    if len(pieces) > 2 or not all(piece.strip() for piece in pieces):
      raise UserError(
        f"cannot read {part.strip()!r} in {text!r}; a term is name(arguments) or"
        " name(arguments):weight"
      )
    spec = parse(pieces[0])
    weight = None if len(pieces) == 1 else parse_value(pieces[1])
    if weight is not None and not isinstance(weight, Spec):
      if isinstance(weight, bool) or not isinstance(weight, int | float):
        raise UserError(
          f"the weight of {spec} must be a number or a schedule, got"
          f" {pieces[1].strip()!r}"
        )
      weight = float(weight)
    terms.append(Term(spec, weight))
  return tuple(terms)


def parse_list(text: str) -> tuple[Spec, ...]:
  """Reads specs with commas between them.

  Args:
    text: for example "mlp(400), mlp(200)".

  Returns:
    The specs.

  Raises:
    UserError: if one of them is empty, or no spec.

  Example:
    >>> [str(one) for one in parse_list("mlp(400, 400), mlp(200)")]
    ['mlp(400, 400)', 'mlp(200)']
  """
  return tuple(map(parse, parts(text)))


def parts(text: str) -> tuple[str, ...]:
  """Cuts a list at the commas outside of brackets; an empty part is a UserError.

  Example:
    >>> parts("kd(temperature=2):0.9 + ce:0.1, sp")
    ('kd(temperature=2):0.9 + ce:0.1', 'sp')
  """
  stripped = tuple(part.strip() for part in _split(text, ","))
  if not all(stripped):
    raise UserError(f"cannot read {text!r} as names with commas between them")
  return stripped


def build(
  kind: str, spec: Spec, makers: Mapping[str, Callable], **defaults: Any
) -> Any:
  """Calls the maker that a spec names with the spec's arguments.

  Args:
    kind: what is being made, for error messages: "model", "method", ...
    spec: name and arguments; arguments that are Specs are passed as they are.
    makers: the callables by name.
    **defaults: keyword arguments for those makers that take them, where the
      spec does not set them itself.

  Returns:
    What the maker returns.

  Raises:
    UserError: for an unknown name, an unknown or missing argument, or a value
      that the maker refuses with a ValueError or TypeError.

  Example:
    >>> build("number", parse("double(4)"), {"double": lambda x: 2 * x})
    8
  """
  if spec.name not in makers:
    raise unknown_name(kind, spec.name, makers)
  maker = makers[spec.name]
  signature = inspect.signature(maker)
  try:
    arguments = signature.bind_partial(
      *spec.args, **dict(spec.kwargs)
    ).arguments
  except TypeError:
    raise _refused(kind, spec, maker) from None
  missing = {
    name: value
    for name, value in defaults.items()
    if name in signature.parameters and name not in arguments
  }
  try:
    signature.bind(*spec.args, **dict(spec.kwargs), **missing)
    return maker(*spec.args, **dict(spec.kwargs), **missing)
  except (TypeError, ValueError) as error:
    raise UserError(f"{kind} {spec}: {error}") from error


def signature_text(maker: Callable) -> str:
  """Writes out the arguments of a maker that a user may set.

  Args:
    maker: of a method, a model, a view, ...

  Returns:
    Such as "(temperature=4.0)", or "" where there are none; what the run itself
    knows (classes, examples, steps where no place is kept for them) is left out.

  Example:
    >>> signature_text(lambda width, *, classes, dropout=0.5: None)
    '(width, dropout=0.5)'
  """
  parameters = [
    str(parameter.replace(annotation=parameter.empty))
    for name, parameter in inspect.signature(maker).parameters.items()
    if name not in RUN_KNOWS or parameter.kind != parameter.KEYWORD_ONLY
  ]
  return f"({', '.join(parameters)})" if parameters else ""


def _value(node: ast.AST, text: str) -> Any:
  if isinstance(node, ast.Name):
    return Spec(node.id)
  if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
    if any(keyword.arg is None for keyword in node.keywords):
      raise UserError(f"cannot read '**' in {text!r}")
    return Spec(
      node.func.id,
      tuple(_value(argument, text) for argument in node.args),
      tuple((kw.arg, _value(kw.value, text)) for kw in node.keywords),
    )
  try:
    return ast.literal_eval(node)
  except (ValueError, TypeError):  # such as a dictionary of lists
    raise UserError(
      f"cannot read {ast.unparse(node)!r} in {text!r}: values are numbers,"
      " strings, tuples or name(arguments)"
    ) from None


def _split(text: str, separator: str) -> list[str]:
  """Splits at separators that stand outside brackets, strings and exponents."""
  parts, depth, quote, start = [], 0, None, 0
  for position, character in enumerate(text):
    if quote:
      quote = None if character == quote else quote
    elif character in "'\"":
      quote = character
    elif character in "([{":
      depth += 1
    elif character in ")]}":
      depth -= 1
    elif character == separator and depth == 0:
      exponent = text[start:position].rstrip()[-1:] in ("e", "E")
      digits = text[start:position].rstrip()[-2:-1]
      if separator == "+" and exponent and digits.isdigit():
        continue  # the sign of 1e+3
      parts.append(text[start:position])
      start = position + 1
  return [*parts, text[start:]]


def _refused(kind: str, spec: Spec, maker: Callable) -> UserError:
  """The error for arguments of which there are too many, or of another name."""
  takes = f"{spec.name} takes {signature_text(maker) or 'no arguments'}"
  parameters = [
    name
    for name, parameter in inspect.signature(maker).parameters.items()
    if parameter.kind != parameter.VAR_POSITIONAL
  ]
  unknown = [name for name, _ in spec.kwargs if name not in parameters]
  if not unknown:
    return UserError(f"{kind} {spec}: {takes}")
  near = difflib.get_close_matches(unknown[0].lower(), parameters, n=1)
  hint = f"; did you mean {near[0]!r}?" if near else "."
  return UserError(
    f"{kind} {spec}: there is no argument {unknown[0]!r}{hint} {takes}"
  )
