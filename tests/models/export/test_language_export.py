"""A decoder as StableHLO: transformers' logits, without a line of kdjax."""

import pathlib

import jax
import numpy as np
import pytest

import kdjax

FOLDER = pathlib.Path(__file__).parent.parent / "golden" / "language_models"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama", "gemma2", "qwen3", "gpt2"])
def test_an_exported_decoder_answers_as_transformers(name, tmp_path):
  network, variables, _, _ = kdjax.pretrained.load(FOLDER / name)
  with np.load(FOLDER / name / "answers.npz") as file:
    tokens, mask, logits = (file[x] for x in ("tokens", "mask", "logits"))
  inputs = {"tokens": tokens.astype(np.int32), "mask": mask}
  files = kdjax.export(
    network, variables, inputs, tmp_path / name, format="stablehlo"
  )
  program = jax.export.deserialize(bytearray(files["stablehlo"].read_bytes()))
  # Of another number of texts than it was written with.
  answers = program.call({key: x[1:] for key, x in inputs.items()})
  counts, scale = mask[1:], np.abs(logits[mask]).max()
  error = np.abs(np.asarray(answers)[counts] - logits[1:][counts]).max()
  assert error < 2e-5 * scale
