"""Taps as text: what is read, written, refused, selected."""

import pytest

from kdjax.core.errors import UserError
from kdjax.taps import Tap, parse_tap, pick, select

TEXTS = [
  ("stage_2", Tap(("stage_2",)), "stage_2"),
  ("stage_2:out", Tap(("stage_2",)), "stage_2"),
  ("a/b.__call__:out#0", Tap(("a", "b")), "a/b"),
  ("head:in", Tap(("head",), site="in"), "head:in"),
  ("shared#1", Tap(("shared",), call=1), "shared#1"),
  ("vae.encode", Tap(("vae",), "encode"), "vae.encode"),
  ("a/b.f:in#12", Tap(("a", "b"), "f", "in", 12), "a/b.f:in#12"),
  ("s/attention:weights", Tap(("s", "attention"), site="weights"), None),
  ("stage_*/[ab]?", Tap(("stage_*", "[ab]?")), None),
  (":out", Tap(()), ":out"),
  (":in", Tap((), site="in"), ":in"),
  (".encode", Tap((), "encode"), ".encode"),
  (".__call__", Tap(()), ":out"),
  ("#1", Tap((), call=1), ":out#1"),
]


@pytest.mark.parametrize(("text", "tap", "normal"), TEXTS)
def test_text_is_read_and_written(text, tap, normal):
  assert parse_tap(text) == tap
  assert str(tap) == (normal or text)
  assert parse_tap(str(tap)) == tap


@pytest.mark.parametrize(
  ("text", "says"),
  [
    ("", "path/to/module"),
    ("head:inn", "did you mean 'in'"),
    ("head:", "did you mean|Choices: in, out, weights"),
    ("head#", "a call's number"),
    ("head#one", "a call's number, not 'one'"),
    ("head#-1", "a call's number"),
    ("head.", "a method's name"),
    ("head.1", "a method's name, not '1'"),
    ("a//b", "empty"),
    ("/a", "empty"),
    ("a/", "empty"),
    ("a b", "space"),
    ("**/dense", "never crosses"),
    ("head#1:in", "path/to/module"),
    ("a.b/c", "path/to/module"),
  ],
)
def test_bad_text_is_refused(text, says):
  with pytest.raises(UserError, match=says):
    parse_tap(text)


FEATS = {
  "stage_10": 10,
  "stage_2": 2,
  "stage_2:in": 20,
  "stage_2/dense": 200,
  "stage_2#1": 21,
}


@pytest.mark.parametrize(
  ("pattern", "expected"),
  [
    ("stage_*", (2, 10)),
    ("stage_2", (2,)),
    ("stage_?:in", (20,)),
    ("*/dense", (200,)),
    ("stage_[0-9]", (2,)),
    ("stage_2.__call__#1", (21,)),
  ],
)
def test_select_gives_matches_in_natural_order(pattern, expected):
  assert select(FEATS, pattern) == expected


def test_select_lists_what_there_is():
  with pytest.raises(UserError, match="'stages'.*: stage_2, stage_2#1"):
    select(FEATS, "stages")
  with pytest.raises(UserError, match="There is: none"):
    select({}, "stage_0")


def test_pick_wants_exactly_one():
  assert pick(FEATS, "stage_2") == 2
  with pytest.raises(UserError, match="names 2 features.*stage_2, stage_10"):
    pick(FEATS, "stage_*")
  with pytest.raises(UserError, match="names no feature"):
    pick(FEATS, "stage_3")
