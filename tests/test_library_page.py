"""The programs of the page about the library run, top to bottom."""

import ast
import importlib.util
import inspect
import operator
import pathlib
import re

import jax
import pytest

import kdjax

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "library.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_calls_are_of_what_there_is():
  """Names, numbers of arguments and keywords, without a run."""
  calls = 0
  for node in ast.walk(ast.parse("\n".join(BLOCKS))):
    name = ast.unparse(getattr(node, "func", node))
    if not (isinstance(node, ast.Call) and name.startswith("kdjax.")):
      continue
    function = operator.attrgetter(name.removeprefix("kdjax."))(kdjax)
    positional = [x for x in node.args if not isinstance(x, ast.Starred)]
    keywords = [x.arg for x in node.keywords if x.arg]
    inspect.signature(function).bind_partial(
      *positional, **dict.fromkeys(keywords)
    )
    calls += 1
  assert calls >= 30


@pytest.mark.slow
def test_programs_run(capsys, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert len(BLOCKS) >= 5
  names = {"__name__": "library_page"}
  for block in BLOCKS:
    of_keras = "import keras" in block
    if of_keras and not importlib.util.find_spec("keras"):
      continue
    # Keras adds vectors to matrices, which the tests forbid.
    with jax.numpy_rank_promotion("allow" if of_keras else "raise"):
      exec(compile(block, str(PAGE), "exec"), names)
  assert "block_1 (8, 16, 64) float32 Dense" in capsys.readouterr().out
