"""The programs of the page about the library run, top to bottom."""

import importlib.util
import pathlib
import re

import jax

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "library.md"


def test_programs_run(capsys, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
  assert len(blocks) >= 5
  names = {"__name__": "library_page"}
  for block in blocks:
    of_keras = "import keras" in block
    if of_keras and not importlib.util.find_spec("keras"):
      continue
    # Keras adds vectors to matrices, which the tests forbid.
    with jax.numpy_rank_promotion("allow" if of_keras else "raise"):
      exec(compile(block, str(PAGE), "exec"), names)
  assert "block_1 (8, 16, 64) float32 Dense" in capsys.readouterr().out
