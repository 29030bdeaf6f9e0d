"""Chat templates: programs of strangers, run in jinja's sandbox."""

import datetime
import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from kdjax.core.errors import UserError

# The longest template that is known has 20 thousand characters; a chat of a
# million tokens some five million.
LONGEST_TEMPLATE = 1 << 18
LONGEST_TEXT = 1 << 24


def render(
  source: str,
  messages: Sequence[Mapping[str, Any]],
  names: Mapping[str, str],
  *,
  add_generation_prompt: bool,
) -> str:
  """Writes messages as one text.

  Args:
    source: the template.
    names: of special tokens, as the template calls them.

  Raises:
    UserError: whatever goes wrong in the template, in one line.
  """
  compiled = _compile(source)
  import jinja2

  parts, length = [], 0
  try:
    for part in compiled.generate(
      messages=[*messages],
      tools=None,
      documents=None,
      add_generation_prompt=add_generation_prompt,
      **names,
    ):
      parts.append(part)
      length += len(part)
      if length > LONGEST_TEXT:
        raise UserError(
          f"the chat template writes more than {LONGEST_TEXT} characters"
        )
  # What a template does is not ours: it indexes, adds and calls what it likes.
  except (
    jinja2.TemplateError, ArithmeticError, AttributeError, LookupError,
    MemoryError, RecursionError, TypeError, ValueError,
  ) as error:  # fmt: skip
    raise UserError(
      f"the chat template refuses these messages: {_line(error)}"
    ) from None
  return "".join(parts)


def has_generation_prompt(source: str) -> bool:
  """Says whether a template can write the beginning of an answer.

  Example:
    >>> has_generation_prompt("{% if add_generation_prompt %}A:{% endif %}")
    True
  """
  from jinja2 import meta

  parsed = _compile(source).environment.parse(source)
  return "add_generation_prompt" in meta.find_undeclared_variables(parsed)


@functools.lru_cache(maxsize=16)
def _compile(source: str):
  try:
    import jinja2
  except ImportError:
    raise UserError(
      "chat templates need the package jinja2; run: pip install 'kdjax[lm]'"
    ) from None
  if len(source) > LONGEST_TEMPLATE:
    raise UserError(
      f"the chat template has {len(source)} characters; at most"
      f" {LONGEST_TEMPLATE} are read"
    )
  try:
    return _environment().from_string(source)
  except (jinja2.TemplateError, RecursionError) as error:
    raise UserError(
      f"the chat template cannot be read: {_line(error)}"
    ) from None


def _environment():
  """As templates expect it: what transformers gives them."""
  import jinja2
  from jinja2 import ext, nodes, sandbox

  class Generation(ext.Extension):
    """{% generation %} marks answers in some templates; here it marks nothing."""

    tags = {"generation"}

    def parse(self, parser):
      line = next(parser.stream).lineno
      body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
      return nodes.Scope(body).set_lineno(line)

  def refuse(message):
    raise jinja2.TemplateError(message)

  # jinja's own escapes what HTML would take for tags.
  def to_json(
    value, ensure_ascii=False, indent=None, separators=None, sort_keys=False
  ):
    return json.dumps(
      value,
      ensure_ascii=ensure_ascii,
      indent=indent,
      separators=separators,
      sort_keys=sort_keys,
    )

  environment = sandbox.ImmutableSandboxedEnvironment(
    trim_blocks=True,
    lstrip_blocks=True,
    extensions=[Generation, "jinja2.ext.loopcontrols"],
  )
  environment.filters["tojson"] = to_json
  environment.globals["raise_exception"] = refuse
  environment.globals["strftime_now"] = lambda form: (
    datetime.datetime.now().strftime(form)
  )
  return environment


def _line(error: BaseException) -> str:
  lines = str(error).strip().splitlines()
  return lines[0][:200] if lines else type(error).__name__
