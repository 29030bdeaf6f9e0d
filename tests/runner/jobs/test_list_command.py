"""`launch.py list`: what there is, in an order that imports do not decide."""

import pytest

from kdjax import models
from kdjax.core.errors import UserError
from kdjax.core.registry import by_file
from kdjax.runner.jobs.list.listing import listing


def test_schemes_are_listed_under_either_name():
  text = listing(["schemes"], experiments={})
  assert text == listing(["regimes"], experiments={})
  assert text.startswith("schemes (--scheme)\n") and "mean_teacher(" in text
  assert "regimes" not in listing([], experiments={})


def test_models_are_listed_with_the_published_ones_and_their_tensors():
  text = listing(["models"], experiments={})
  assert text.startswith("models (--teacher, --student)\n")
  assert listing(["pretrained"], experiments={}) in text
  lines = [line.strip() for line in text.splitlines()]
  assert "package:smollm2" in text and "Gemma's terms of use" in text
  at = lines.index(next(x for x in lines if x.startswith("FOLDER, phi3")))
  assert lines[at].endswith(
    "decoder of model.embed_tokens, model.norm, lm_head; model.layers.N:"
    " self_attn.qkv_proj, self_attn.o_proj, mlp.gate_up_proj, mlp.down_proj,"
    " input_layernorm, post_attention_layernorm"
  )
  assert sum(line.startswith("FOLDER, ") for line in lines) == 14


def test_a_name_that_is_none_is_refused_with_the_nearest():
  with pytest.raises(UserError, match="did you mean 'schemes'"):
    listing(["scheme"], experiments={})


def test_the_order_of_imports_decides_nothing():
  files = {}
  for name, maker in models.MAKERS.items():
    files.setdefault(maker.__module__, {})[name] = maker
  assert len(files) > 5
  other_order = {
    name: maker
    for one in reversed(files.values())
    for name, maker in one.items()
  }
  assert list(by_file(other_order)) == list(by_file(models.MAKERS))
  assert list(by_file(other_order)) != list(other_order)
