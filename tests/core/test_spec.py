"""The grammar: what it reads, what it refuses, what it never runs."""

import re

import pytest

from kdjax.core import spec
from kdjax.core.errors import UserError
from kdjax.core.spec import Spec


@pytest.mark.parametrize(
  ("text", "expected"),
  [
    ("kd", Spec("kd")),
    (" kd() ", Spec("kd")),
    ("mlp(20, 10)", Spec("mlp", (20, 10))),
    ("kd(temperature=8)", Spec("kd", (), (("temperature", 8),))),
    (
      "f(-1.5, 'a:b+c', (1, 2), None)",
      Spec("f", (-1.5, "a:b+c", (1, 2), None)),
    ),
    ("f(g(1), h=i)", Spec("f", (Spec("g", (1,)),), (("h", Spec("i")),))),
  ],
)
def test_parse(text, expected):
  parsed = spec.parse(text)
  assert parsed == expected
  assert spec.parse(str(parsed)) == expected


@pytest.mark.parametrize(
  ("text", "expected"),
  [
    ("kd", ["kd"]),
    ("kd:0.9 + ce:0.1", ["kd:0.9", "ce:0.1"]),
    ("kd:1e+3+ce", ["kd:1000.0", "ce"]),
    ("kd(a='x + y:z') : 2", ["kd(a='x + y:z'):2.0"]),
    ("kd:linear(0, 1, 9) + ce:-1", ["kd:linear(0, 1, 9)", "ce:-1.0"]),
  ],
)
def test_parse_sum(text, expected):
  assert list(map(str, spec.parse_sum(text))) == expected


@pytest.mark.parametrize(
  "text",
  [
    "", "kd(", "kd)", "1 + 2", "'kd'", "a.b(1)", "kd(**x)", "kd(lambda: 1)",
    "kd(1 if x else 2)", "kd([i for i in x])", "f(open('x').read())",
    "__import__('os').system('true')", "kd + + ce", "kd:", ":1", "kd:1:2",
    "kd:True", "kd:'x'", "\udce9", "kd:\udce9", "kd({[]: 1})", "kd({{}})",
    "kd" + "(" * 300, "kd(" + "-" * 9999 + "1)",
  ],
)  # fmt: skip
def test_refused(text):
  with pytest.raises(UserError):
    spec.parse_sum(text)


def make(width, scale=1.0, classes=None):
  if width < 0:
    raise ValueError("width must not be negative")
  return width, scale, classes


@pytest.mark.parametrize(
  ("text", "defaults", "expected"),
  [
    ("make(3)", {}, (3, 1.0, None)),
    ("make(3, scale=2)", {"classes": 10}, (3, 2, 10)),
    ("make(3, classes=5)", {"classes": 10}, (3, 1.0, 5)),
    ("make(3)", {"unknown": 1}, (3, 1.0, None)),
  ],
)
def test_build(text, defaults, expected):
  assert (
    spec.build("thing", spec.parse(text), {"make": make}, **defaults)
    == expected
  )


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("mke(3)", "unknown thing 'mke'; did you mean 'make'?"),
    ("make(3, scal=2)", "make takes (width, scale=1.0, classes=None)"),
    (
      "make(3, scal=2)",
      "thing make(3, scal=2): there is no argument 'scal'; did you mean 'scale'?",
    ),
    ("make(3, colour=2)", "no argument 'colour'. make takes (width, scale=1.0"),
    ("make(1, 2, 3, 4)", "thing make(1, 2, 3, 4): make takes (width, scale="),
    ("make()", "width"),
    ("make(-1)", "width must not be negative"),
    ("make('a')", "thing make('a')"),
  ],
)
def test_build_refuses(text, message):
  with pytest.raises(UserError, match=re.escape(message)):
    spec.build("thing", spec.parse(text), {"make": make})
