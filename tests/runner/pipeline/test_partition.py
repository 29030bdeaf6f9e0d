"""`--mesh` and `--shard_rules`: what they mean, and what is refused."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec as P

import launch
from kdjax.core.errors import UserError
from kdjax.models import make_model
from kdjax.models.decoder import Decoder
from kdjax.models.transformer_config import Layer, TransformerConfig
from kdjax.runner.pipeline.partition import (
  activations_on_a_device,
  read_partition,
)
from kdjax.train.devices.rules import layout, spec_of
from kdjax.train.state import TrainState

TOKENS = jnp.zeros((1, 4), jnp.int32)
LAYERS = (Layer(None, None, 1.0),)
NETWORKS = {
  "vit": (
    make_model("vit(patch=2,width=8,depth=1,heads=2,mlp_width=16)", classes=4),
    jnp.zeros((1, 4, 4, 1)),
  ),
  "gpt": (
    make_model("gpt(width=8,depth=1,heads=2,positions=4,mlp=16)", classes=6),
    TOKENS,
  ),
  "bert": (
    make_model(
      "bert(width=8,depth=1,heads=2,positions=4,vocabulary=6,mlp=16)", classes=4
    ),
    TOKENS,
  ),
  "decoder": (
    Decoder(TransformerConfig(6, 8, LAYERS, 4, 2, 2, 16, 32)), TOKENS
  ),
}  # fmt: skip


@pytest.mark.parametrize(
  ("mesh", "rules", "share"),
  [
    ("data=4,model=2", "transformer", None),
    ("data=2,model=4", "fsdp", 1 / 2),
    ("data=8", None, 1 / 8),
  ],
)
def test_what_of_the_activations_a_device_has(mesh, rules, share):
  """Layers read and write the state, 8 wide, six times; what is between them is cut."""
  partition = read_partition(mesh, rules, jax.devices())
  kernels = {
    f"attention/{name}": (8, 2, 4) for name in ("query", "key", "value")
  } | {"attention/out": (2, 4, 8), "mlp/dense_0": (8, 16), "mlp/dense_1": (16, 8)}  # fmt: skip
  network = {
    "stage_0": {
      part: {
        name.partition("/")[2]: {"kernel": jax.ShapeDtypeStruct((3, *shape), jnp.float32)}
        for name, shape in kernels.items()
        if name.startswith(part)
      }
      for part in ("attention", "mlp")
    }
  }  # fmt: skip
  members = jax.ShapeDtypeStruct((3,), jnp.int32)
  state = TrainState(members, {"network": network, "method": {}}, ())
  uncut, cut = 6 * 8, 4 * 8 + 2 * 16
  share = share or (uncut + cut / 2) / (uncut + cut) / 4
  assert activations_on_a_device(state, partition) == pytest.approx(share)


def cuts(rules, network, mesh="data=2,model=2"):
  """Spec by path, of what is cut."""
  net, inputs = NETWORKS[network]
  shapes = jax.eval_shape(net.init, jax.random.key(0), inputs)
  there = layout(shapes, read_partition(mesh, rules, jax.devices()[:4]))
  leaves = jax.tree_util.tree_leaves_with_path(there["params"])
  return {
    jax.tree_util.keystr(path, simple=True, separator="/"): one.spec
    for path, one in leaves
    if not one.is_fully_replicated
  }


COLUMN, ROW, HEADS = P(None, "model"), P("model"), P(None, "model", None)


@pytest.mark.parametrize("network", NETWORKS)
def test_transformers_are_cut_by_columns_then_rows(network):
  found = cuts("transformer", network)
  block = {
    **{f"attention/{x}/kernel": HEADS for x in ("query", "key", "value")},
    "attention/out/kernel": P("model", None, None),
    "mlp/dense_0/kernel": COLUMN,
    "mlp/dense_1/kernel": P("model", None),
  }
  if network == "decoder":
    block["mlp/gate/kernel"] = COLUMN
  for path, spec in block.items():
    assert found.pop(f"stage_0/{path}") == spec, path
  ends = {
    "vit": {"head/kernel": COLUMN, "head/bias": ROW},
    "bert": {"head/kernel": COLUMN, "head/bias": ROW},
  }.get(network, {})
  if network != "vit":
    ends["stem/tokens/embedding"] = P("model", None)
  others = {k: v for k, v in found.items() if not k.startswith("stage_0")}
  assert others == ends | (
    {"head/kernel": COLUMN} if "head/kernel" in found else {}
  )
  # Biases of what is cut by columns.
  assert all(k.endswith("bias") for k in found.keys() - others.keys())


def test_fsdp_cuts_the_longest_axis_that_all_devices_divide():
  found = cuts("fsdp", "vit")
  whole = ("data", "model")
  assert found["stage_0/mlp/dense_0/kernel"] == P(None, whole)
  assert found["stage_0/mlp/dense_1/kernel"] == P(whole)
  assert found["stem/patches/kernel"] == P(None, None, None, whole)
  # (1, 5, 8): positions; what is cut is the width.
  assert found["stem/positions"] == P(None, None, whole)


@pytest.mark.parametrize(
  ("mesh", "expected"),
  [
    # Vocabularies are longer than features are many.
    ("data=2,model=2", P(("data", "model"))),
    ("data=4", P(None, ("data",))),
    ("data=4,model=1", P(None, ("data", "model"))),
  ],
)
def test_fsdp_cuts_the_features_of_embeddings_where_one_axis_cuts(
  mesh, expected
):
  partition = read_partition(mesh, "fsdp", jax.devices()[:4])
  assert spec_of("stem/tokens/embedding", (64, 8), partition) == expected


def test_own_rules_are_read_in_order_and_by_axis():
  rules = "dense_0/kernel=-,data+model; kernel$=-,model"
  found = cuts(rules, "gpt")
  assert found["stage_0/mlp/dense_0/kernel"] == P(None, ("data", "model"))
  assert found["stage_0/mlp/dense_1/kernel"] == COLUMN


def test_one_size_may_be_left_open():
  made = read_partition("data=-1,model=2", None, jax.devices())
  assert dict(made.mesh.shape) == {"data": 4, "model": 2}
  assert made.batch == P("data")
  assert read_partition("model=8", None, jax.devices()).batch == P()
  assert read_partition(None, None, jax.devices()) is None


@pytest.mark.parametrize(
  ("mesh", "rules", "said"),
  [
    ("data=3", None, "3 devices, and there are 8"),
    ("data=-1,model=3", None, "6 devices, and there are 8"),
    ("data=-1,model=-1", None, "at most one"),
    ("data=4,data=2", None, "a name of its own"),
    ("data", None, "such as data=2,model=4"),
    ("data=0", None, "such as data=2,model=4"),
    ("data=2.5", None, "such as data=2,model=4"),
    ("", None, "such as data=2,model=4"),
    ("data=8", "transformer", "axis 'model', and --mesh has data"),
    ("data=8", "kernel=-,modl", "no axis 'modl'; it has data"),
    ("data=8", "kernel=data,data", "'data' twice"),
    ("data=8", "(=data", "no regular expression"),
    ("data=8", "fsdpp", "did you mean fsdp"),
    ("data=8", "", "expected fsdp, transformer or PATTERN"),
    ("data=8", "=data", "expected fsdp, transformer or PATTERN"),
  ],
)
def test_what_cannot_be_read_is_refused(mesh, rules, said):
  with pytest.raises(UserError, match="--mesh|--shard_rules") as error:
    read_partition(mesh, rules, jax.devices())
  assert said in str(error.value)


@pytest.mark.parametrize(
  ("flags", "said"),
  [
    (["--mesh=data=3"], "3 devices"),
    (["--mesh=data=8", "--batch_size=12"], "batch size 12"),
    (["--mesh=data=8", "--shard_rules=stge_0=data"], "matches no parameter"),
    (["--mesh=data=8", "--shard_rules=head/kernel=-,data"], "(16, 10), into 8"),
    (["--mesh=model=8", "--shard_rules=transformer"], "cuts nothing"),
    (["--mesh=data=8", "--shard=batch"], "leave one of them out"),
    (["--mesh=data=8", "--scheme=codistillation"], "lays its networks"),
    (["--shard_rules=fsdp"], "without --mesh"),
  ],
)
def test_a_run_ends_before_it_compiles(flags, said, tmp_path, capsys):
  command = ["launch.py", "--dataset=digits", "--images=64", "--student=mlp(16)",
             "--teacher=mlp(32)", "--batch_size=16", "--teacher_batch_size=16",
             f"--workdir={tmp_path / 'run'}", *flags]  # fmt: skip
  assert launch.main(command) == 2
  message = capsys.readouterr().err
  assert said in message and len(message.strip().splitlines()) == 1, message
  assert not (tmp_path / "run").exists()
