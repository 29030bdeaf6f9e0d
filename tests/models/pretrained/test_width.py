"""Students cut narrower: what is zero is left out, and nothing else changes."""

import dataclasses
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kdjax
from kdjax.core.errors import UserError
from kdjax.models.pretrained.architectures import architecture_of
from kdjax.models.pretrained.architectures import config_of as config_of_module
from kdjax.models.pretrained.cut import read_cut
from kdjax.models.pretrained.importance import Scores, scores_of
from kdjax.models.pretrained.load import network_of
from kdjax.models.pretrained.width import Width, kept_places, sizes_of
from kdjax.models.transformer_config import Layer, TransformerConfig

FOLDER = pathlib.Path(__file__).parent.parent / "golden" / "language_models"
TOKENS = np.arange(3, 25).reshape(2, 11)
INPUTS = {"tokens": TOKENS, "mask": np.arange(11)[None] < [[11], [6]]}
slow = pytest.mark.slow


def config_of(**settings):
  """Sizes of a decoder of one block."""
  sizes = {"vocabulary": 9, "width": 8, "layers": (Layer(None, None, 1.0),)}
  sizes |= {"heads": 9, "groups": 3, "head_width": 2, "mlp": 24, "positions": 8}
  return TransformerConfig(**sizes | settings)


# (mlp, heads, groups, hidden) that are kept.
@pytest.mark.parametrize(
  ("text", "settings", "kept"),
  [
    ("width(mlp=0.5)", {}, (12, 9, 3, 8)),
    ("width(mlp=7)", {}, (7, 9, 3, 8)),
    ("width(mlp=1)", {}, (1, 9, 3, 8)),
    ("width(mlp=1.0, heads=1.0, hidden=1.0)", {}, (24, 9, 3, 8)),
    ("width(heads=0.5)", {}, (24, 6, 2, 8)),  # 4.5 of 3, 6 and 9
    ("width(heads=3)", {}, (24, 3, 1, 8)),
    ("width(heads=0.5)", {"heads": 4, "groups": 4}, (24, 2, 2, 8)),
    ("width(heads=3)", {"heads": 4, "groups": 4}, (24, 3, 3, 8)),
    ("width(heads=2)", {"heads": 4, "groups": 1}, (24, 2, 1, 8)),
    ("width(heads=2)", {"heads": 8, "groups": 2}, (24, 2, 2, 8)),
    ("width(heads=4)", {"heads": 8, "groups": 2}, (24, 4, 1, 8)),
    ("width(every(2), mlp=0.01, hidden=0.75)", {}, (1, 9, 3, 6)),
    ("width(heads=1.0)", {"centred": True}, (24, 9, 3, 8)),
  ],
)
def test_how_many_are_kept(text, settings, kept):
  sizes = sizes_of(read_cut(text).width, config_of(**settings))
  names = "mlp", "heads", "groups", "hidden"
  assert tuple(sizes[name] for name in names) == kept


@pytest.mark.parametrize(
  ("text", "settings", "words"),
  [
    ("width", {}, "says what is kept"),
    ("width(layers(2))", {}, "says what is kept"),
    ("width(mpl=0.5)", {}, "did you mean 'mlp'"),
    ("width(mlp=0)", {}, "share in (0, 1]"),
    ("width(mlp=1.5)", {}, "got 1.5"),
    ("width(mlp=True)", {}, "got True"),
    ("width(mlp=-2)", {}, "got -2"),
    ("width(hidden='half')", {}, "got 'half'"),
    ("width(6, mlp=0.5)", {}, "a cut such as layers(6) first"),
    ("width(layer(6), mlp=0.5)", {}, "did you mean 'layers'"),
    ("width(width(mlp=0.5), mlp=0.5)", {}, "unknown cut 'width'"),
    ("width(mlp=25)", {}, "mlp=25: there are 24"),
    ("width(heads=4)", {}, "possible: 3, 6, 9"),
    ("width(hidden=0.5)", {"centred": True}, "subtract the mean"),
    ("width(heads=3)", {"centred": True}, "no width of a head"),
    ("width(heads=3)", {"head_norm": "whole"}, "over all heads together"),
  ],
)
def test_a_width_that_is_none_is_refused(text, settings, words):
  with pytest.raises(UserError) as error:
    sizes_of(read_cut(text).width, config_of(**settings))
  assert words in str(error.value) and "\n" not in str(error.value)


def test_which_are_kept():
  """Block by block; a group by the squares of its heads, of which it keeps some."""
  scores = Scores(
    mlp=np.array([[1.0, 3, 2], [3, 0, 1]]),
    heads=np.array([[3.0, 0, 2, 2.5], [1, 2, 5, 1]]),
    hidden=np.array([0.0, 2, 1, 2]),
  )
  config = config_of(heads=4, groups=2, mlp=3, width=4)
  for heads, wanted in (
    (2, [([2, 3], [1]), ([2, 3], [1])]),
    (3, None),
  ):
    sizes = {"mlp": 2, "heads": heads, "groups": 1, "hidden": 2}
    if wanted is None:
      sizes |= {"heads": 2, "groups": 2}
      wanted = [([0, 3], [0, 1]), ([1, 2], [0, 1])]
    places = kept_places(config, sizes, scores)
    for place, mlp, (own, groups) in zip(
      places, ([1, 2], [0, 2]), wanted, strict=True
    ):
      assert place["mlp"].tolist() == mlp
      assert place["heads"].tolist() == own
      assert place["groups"].tolist() == groups
      assert place["hidden"].tolist() == [1, 3]


def with_zeros(teacher, width):
  """The variables of a network in which some of each part is zero.

  Every other neuron and entry of the hidden state, and every other group of heads.
  """
  module = teacher.network.module
  params = jax.tree.map(np.array, teacher.variables["params"])
  params["stem"]["tokens"]["embedding"][:, ::2] *= width.hidden is None
  for i in range(len(module.config.layers)):
    attention, mlp = (
      params[f"stage_{i}"]["attention"],
      params[f"stage_{i}"]["mlp"],
    )
    first = [mlp[name] for name in ("gate", "dense_0") if name in mlp]
    if width.mlp is not None:
      for layer in first:
        for leaf in layer.values():
          leaf[..., ::2] = 0
      mlp["dense_1"]["kernel"][::2] = 0
    if width.heads is not None:
      each = module.config.heads // module.config.groups
      heads = np.arange(module.config.heads) // each % 2 == 0
      attention["out"]["kernel"][heads] = 0
      attention["value"]["kernel"][:, ::2] = 0
    if width.hidden is not None:
      for layer in (attention["out"], mlp["dense_1"]):
        for leaf in layer.values():
          leaf[..., ::2] = 0
  return {"params": jax.tree.map(jnp.asarray, params)}


def with_small_epsilon(loaded):
  """Queries and keys have norms with the epsilon of others, which is not mended."""
  if loaded.network.module.config.head_norm is None:
    return loaded
  config = config_of_module(loaded.network.module) | {"rms_norm_eps": 1e-12}
  network = network_of(architecture_of(config).build(config))
  return loaded._replace(network=network)


def logits_of(network, variables):
  return jax.jit(lambda v: network.apply(v, {"tokens": TOKENS})[0])(variables)


ALL = "width(mlp=0.5, heads=0.5, hidden=0.5)"
# (folder, cut).
CASES = [
  pytest.param(*case, marks=slow if place > 0 else (), id=f"{case[0]} {case[1]}")
  for place, case in enumerate([
    ("llama", ALL),
    ("gemma2", ALL),
    ("gemma3_text", ALL),
    ("qwen2", ALL),
    ("qwen3", ALL),
    ("smollm3", ALL),
    ("mistral", "width(mlp=0.5, heads=0.5)"),
    ("phi3", "width(mlp=0.5)"),
    ("olmo2", "width(mlp=0.5, hidden=0.5)"),
    ("gpt2", "width(mlp=0.5)"),
  ])
]  # fmt: skip


@pytest.mark.parametrize(("name", "which"), CASES)
def test_what_is_zero_is_left_out_and_changes_nothing(name, which, tmp_path):
  loaded = with_small_epsilon(kdjax.pretrained.load(FOLDER / name))
  old = loaded.network.module.config
  width = read_cut(which).width
  teacher = loaded._replace(variables=with_zeros(loaded, width))
  wanted = logits_of(teacher.network, teacher.variables)
  for inputs in (None, INPUTS):
    student = kdjax.pretrained.cut(teacher, which, inputs=inputs)
    new = student.network.module.config
    assert new.mlp == (old.mlp + (width.mlp is None) * old.mlp) // 2
    assert new.width == (old.width + (width.hidden is None) * old.width) // 2
    assert new.heads / new.groups == old.heads / old.groups
    assert new.head_width == old.head_width
    logits = logits_of(student.network, student.variables)
    bound = 1e-5 * np.abs(wanted).max()
    np.testing.assert_allclose(logits, wanted, atol=bound)
  kdjax.pretrained.save(tmp_path / "cut", student.network, student.variables)
  again = kdjax.pretrained.load(tmp_path / "cut")
  # Scaled norms are no longer in the type that files have.
  plain = [
    dataclasses.replace(one.network.module.config, stored="", dtype="")
    for one in (again, student)
  ]
  assert plain[0] == plain[1]
  jax.tree.map(
    np.testing.assert_array_equal, again.variables, student.variables
  )
  config = json.loads((tmp_path / "cut" / "config.json").read_text())
  mlp = "n_inner" if name == "gpt2" else "intermediate_size"
  assert config[mlp] == new.mlp
  if new.width != old.width:
    assert config["hidden_size"] == new.width
    assert config["num_attention_heads"] == new.heads
    assert config["num_key_value_heads"] == new.groups
    assert config["head_dim"] == new.head_width


def test_to_keep_everything_is_the_teacher():
  teacher = kdjax.pretrained.load(FOLDER / "llama")
  student = kdjax.pretrained.cut(
    teacher, "width(mlp=1.0, heads=1.0, hidden=1.0)"
  )
  assert student.network == teacher.network
  assert student.config == teacher.config
  jax.tree.map(
    np.testing.assert_array_equal, student.variables, teacher.variables
  )


def test_of_some_blocks():
  """Each block's own neurons, as the whole network uses them."""
  teacher = kdjax.pretrained.load(FOLDER / "llama")
  student = kdjax.pretrained.cut(
    teacher, "width(layers(2), mlp=0.25)", inputs=INPUTS
  )
  scores = scores_of(teacher.network, teacher.variables["params"], INPUTS)
  config = student.network.module.config
  assert len(config.layers) == 2 and config.mlp == 6
  for place, block in enumerate((0, 2)):
    kept = np.sort(np.argsort(-scores.mlp[block])[:6])
    np.testing.assert_array_equal(
      student.variables["params"][f"stage_{place}"]["mlp"]["gate"]["kernel"],
      teacher.variables["params"][f"stage_{block}"]["mlp"]["gate"]["kernel"][
        :, kept
      ],
    )


def test_padding_does_not_count():
  teacher = kdjax.pretrained.load(FOLDER / "llama")
  params = teacher.variables["params"]
  others = np.where(INPUTS["mask"], TOKENS, 1)
  scores = scores_of(teacher.network, params, INPUTS)
  same = scores_of(teacher.network, params, INPUTS | {"tokens": others})
  jax.tree.map(np.testing.assert_array_equal, scores, same)


def test_encoders_have_no_width_that_is_cut():
  teacher = kdjax.pretrained.load(FOLDER / "bert")
  with pytest.raises(UserError, match="bert is no decoder"):
    kdjax.pretrained.cut(teacher, "width(mlp=0.5)")


def test_heads_of_phi_3_follow_from_the_width():
  teacher = kdjax.pretrained.load(FOLDER / "phi3")
  for which in ("width(hidden=0.5)", "width(heads=1)"):
    with pytest.raises(UserError, match="by one share"):
      kdjax.pretrained.cut(teacher, which)
  student = kdjax.pretrained.cut(teacher, "width(heads=1, hidden=0.5)")
  config = student.network.module.config
  assert (config.heads, config.groups, config.width) == (1, 1, 8)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama", "gemma2", "qwen3", "phi3", "gpt2"])
def test_transformers_loads_it(name, tmp_path):
  transformers = pytest.importorskip("transformers")
  torch = pytest.importorskip("torch")
  teacher = kdjax.pretrained.load(FOLDER / name)
  rest = "" if name == "gpt2" else ", heads=0.5, hidden=0.5"
  which = f"width(mlp=0.5{rest})"
  student = kdjax.pretrained.cut(teacher, which)
  kdjax.pretrained.save(tmp_path / "cut", student.network, student.variables)
  theirs = transformers.AutoModelForCausalLM.from_pretrained(
    tmp_path / "cut", dtype=torch.float32, attn_implementation="eager"
  )
  with torch.no_grad():
    wanted = theirs(torch.tensor(TOKENS)).logits.numpy()
  logits = logits_of(student.network, student.variables)
  assert np.abs(logits - wanted).max() < 2e-5 * np.abs(wanted).max()


def test_width_is_all_by_default():
  assert read_cut("layers(2)").width == Width()
