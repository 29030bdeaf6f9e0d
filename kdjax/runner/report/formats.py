"""How numbers are written, the same in every table and picture."""

from typing import Any

import numpy as np

from kdjax.runner.report.reading import finite, numbers

MISSING = "–"


def with_spread(values: Any, digits: int = 2) -> str:
  """Writes the mean and, for two or more values, the standard deviation.

  Args:
    values: numbers; those that are missing or not finite are left out.
  """
  values = numbers(values)
  values = values[np.isfinite(values)]
  if not values.size:
    return MISSING
  mean = f"{values.mean():.{digits}f}"
  if values.size == 1:
    return mean
  return f"{mean} ± {values.std(ddof=1):.{digits}f}"


def signed(value: float | None, digits: int = 2) -> str:
  """Writes a difference with its sign, a true minus included.

  Args:
    value: in the unit that is shown; None or nan give a dash.
  """
  if not finite(value):
    return MISSING
  text = f"{value:+.{digits}f}"
  if float(text) == 0:
    return text[1:]
  return text.replace("-", "−")


def p_value(value: float | None) -> str:
  """Writes a p-value with as many digits as it deserves.

  Args:
    value: in [0, 1]; None or nan give a dash.
  """
  if not finite(value):
    return MISSING
  if value < 1e-12:
    return "< 1e-12"
  if value < 1e-3:
    mantissa, exponent = f"{value:.0e}".split("e")
    return f"{mantissa}e{int(exponent)}"
  # 0.0496 must not become "0.05", which reads as the other verdict.
  return f"{value:.2f}" if value >= 0.095 else f"{value:.3f}"


def count(value: float | None) -> str:
  """Writes a whole number with separators.

  Args:
    value: a whole number; None or nan give a dash.

  Example:
    >>> count(2395210)
    '2,395,210'
  """
  return f"{value:,.0f}" if finite(value) else MISSING


def scaled(value: float | None) -> str:
  """Writes a large number with three digits and a unit prefix.

  Args:
    value: any number; None or nan give a dash.
  """
  if not finite(value):
    return MISSING
  prefixes = ["", " k", " M", " G", " T", " P"]
  value = float(f"{value:.3g}")
  while abs(value) >= 1000 and len(prefixes) > 1:
    value, prefixes = value / 1000, prefixes[1:]
  if not prefixes[0]:
    return f"{value:g}"
  return f"{_three_digits(value)}{prefixes[0]}"


def ratio(smaller: float | None, larger: float | None, word: str) -> str:
  """Writes how many times less the first is than the second.

  Args:
    smaller: the student's number, > 0.
    larger: the teacher's, > 0.
    word: the comparative where the student's is less; where it is more, the
      sentence turns to "more" ("slower" for "faster").
  """
  if not (finite(smaller) and finite(larger) and smaller > 0 and larger > 0):
    return MISSING
  if smaller == larger:
    return "the same"
  if smaller > larger:
    word = "slower" if word == "faster" else "more"
  times = max(smaller, larger) / min(smaller, larger)
  return f"{_three_digits(times)}× {word}"


def duration(seconds: float | None) -> str:
  """Writes a time span.

  Args:
    seconds: >= 0; None or nan give a dash.
  """
  if not finite(seconds):
    return MISSING
  if seconds < 0.9995:
    return f"{1000 * seconds:.0f} ms"
  if seconds < 59.95:
    return f"{seconds:.1f} s"
  minutes, rest = divmod(round(seconds), 60)
  if minutes < 60:
    return f"{minutes} min {rest} s"
  return f"{minutes // 60} h {minutes % 60} min"


def setting(value: Any) -> str:
  """Writes a setting as the user would: text bare, lists with commas."""
  if value is None or value == "" or value == []:
    return "none"
  if isinstance(value, bool):
    return "yes" if value else "no"
  if isinstance(value, float):
    return f"{value:g}"
  if isinstance(value, list | tuple):
    return ", ".join(setting(item) for item in value)
  return str(value)


def _three_digits(value: float) -> str:
  digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
  return f"{value:,.{digits}f}"
