"""The page about taps runs, top to bottom."""

import pathlib
import re

import pytest

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "taps.md"


@pytest.mark.slow
def test_examples_run(capsys):
  blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
  assert len(blocks) == 5
  names = {}
  for block in blocks:
    exec(compile(block, str(PAGE), "exec"), names)
  assert "head (8, 10) float32 Dense" in capsys.readouterr().out
