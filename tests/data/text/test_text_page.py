"""The code about text of docs/language_models.md."""

import re

import numpy as np
from documented_code import page
from small_tokenizers import characters


def test_the_page_packs_documents(tmp_path, monkeypatch, capsys):
  (code,) = (
    block
    for block in re.findall(
      r"```python\n(.*?)```", page("language_models.md"), re.DOTALL
    )
    if "read_rows" in block
  )
  (tmp_path / "novels").mkdir()
  for number in range(20):
    text = "abc " * (300 * (number % 2) + number + 1)
    (tmp_path / "novels" / f"{number}.txt").write_text(text)
  monkeypatch.chdir(tmp_path)
  names = {"tokenizer": characters()}
  exec(compile(code, "language_models.md", "exec"), names)
  said = capsys.readouterr().out
  assert said.startswith("0 documents of test are in train too")
  batch = names["batch"]
  assert batch["tokens"].shape == (8, 512)
  assert np.asarray(names["sequences"]["mask"]).mean() > 0.8
