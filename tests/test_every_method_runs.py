"""`launch.py --distillation=NAME` for every method, and teachers from files."""

import json

import numpy as np
import pytest

import launch
from kdjax.methods import MAKERS, make_objective
from kdjax.methods.registry import READS
from kdjax.runner.config import (
  Experiment,
  options,
)
from kdjax.runner.pipeline.build import prepare

pytestmark = pytest.mark.usefixtures("quick_runs")

# The networks are those that the program picks for the method.
SHORT = (
  "--dataset=digits", "--labels=256", "--teacher_epochs=1", "--epochs=1",
  "--seeds=1", "--nocontrols",
)  # fmt: skip


def flags(arguments):
  """SHORT, without what the arguments would not let be heeded."""
  if arguments[0] == "list":
    return ()
  found = any(word.startswith("--teacher_from") for word in arguments)
  return [x for x in SHORT if not (found and x.startswith("--teacher_"))]


def results_of(workdir, *arguments):
  command = ["launch.py", *flags(arguments), f"--workdir={workdir}", *arguments]
  assert launch.main(command) == 0
  return json.loads((workdir / "results.json").read_text())


def pictures_of(folder, *, classes, count):
  """A folder of noise, so many pictures a class and split."""
  rng = np.random.default_rng(1)
  return folder(
    {
      f"{split}/{label}/{i}.png": rng.integers(0, 255, (8, 8, 3))
      for split in ("train", "test")
      for label in ("cat", "dog", "hen", "pig")[:classes]
      for i in range(count)
    }
  )


def settings_of(name, pictures):
  """Settings under which a method picks its own networks."""
  return (
    f"--dataset={pictures}", "--labels=none", "--batch_size=32",
    "--teacher_batch_size=32", f"--distillation={name}",
  )  # fmt: skip


# A memory, a learned number, a generator, attention, another's head.
RUN = ("crd", "ctkd", "mgd", "minilmv2", "simkd")


def told_apart_by_networks():
  """Methods that no run below stands for: those of stages, one of the others."""
  found = {}
  for name in (*RUN, *sorted(x for x in MAKERS if "categories" in READS[x])):
    method = make_objective(name, classes=4, examples=64, steps=2)
    asked = method.student_taps, method.teacher_taps, method.needs_teacher
    alone = name if any("stage" in tap for tap in asked[0]) else None
    found.setdefault((*asked, alone), name)
  return sorted({*found.values()} - {*RUN, "ce"})


@pytest.mark.slow
@pytest.mark.parametrize("name", told_apart_by_networks())
def test_fits_networks_of_its_own(folder, name):
  """All that is checked before the first step, a trial of the step included."""
  pictures = pictures_of(folder, classes=4, count=16)
  given = [one[2:].split("=", 1) for one in settings_of(name, pictures)]
  parts = prepare(options.with_flags(Experiment(), dict(given)))
  chosen = parts.experiment
  assert "auto" not in chosen.student.model + chosen.teacher.model
  known = {"classes": 4, "examples": 64, "steps": 2}
  needed = make_objective(name, **known).needs_teacher
  assert (parts.student.arms["student"].teacher is not None) == needed


@pytest.mark.slow
@pytest.mark.parametrize("name", RUN)
def test_runs_on_networks_of_its_own(tmp_path, folder, undrawn, name):
  pictures = pictures_of(folder, classes=4, count=16)
  found = results_of(tmp_path / "run", *settings_of(name, pictures))
  assert np.isfinite(found["student"]["test_accuracy"]).all()
  assert found["experiment"]["student"]["model"] == found["student"]["model"]


def test_no_teacher_is_trained_in_vain(tmp_path, undrawn):
  workdir = tmp_path / "run"
  found = results_of(workdir, "--distillation=tf_kd", "--student=mlp(8)")
  assert found["teacher"] is None and not (workdir / "teacher").exists()
  assert (
    found["student"]["test_accuracy"] and (workdir / "report.html").exists()
  )
  assert "agreement" not in found["student"]


@pytest.mark.parametrize(
  ("arguments", "said"),
  [
    (["--distillation=attention_transfer", "--student=mlp(8)"], "stage_*"),
    (
      [
        "--distillation=fitnets(student_tap='stage_7')",
        "--teacher=mlp(8)",
        "--student=mlp(8)",
      ],
      "stage_7",
    ),
    (
      ["--distillation=fitnets(teacher_tap='stage_7')", "--student=mlp(8)"],
      "Another one is written as fitnets(teacher_tap='...')",
    ),
    (
      ["--distillation=minilm", "--teacher=mlp(8)", "--student=mlp(8)"],
      "atten",
    ),
    (["--distillation=simkd:1", "--student=lenet(4, 8)"], "projector"),
    (["--distillation=crd", "--batch_size=2048"], "2048"),
    (["--method_weight=-1"], "--method_weight=-1"),
    (["--teacher_from=README.md"], "--teacher=resnet50"),
    (["list", "taps"], "--student="),
    (["list", "taps", "--student=alexnet", "--dataset=digits"], "63 x 63"),
  ],
)
def test_what_does_not_fit(capsys, tmp_path, arguments, said):
  workdir = tmp_path / "run"
  # Taps are shown, not run.
  place = [] if arguments[0] == "list" else [f"--workdir={workdir}"]
  status = launch.main(["launch.py", *flags(arguments), *place, *arguments])
  message = capsys.readouterr().err
  assert status == 2 and said in message, message
  assert len(message.splitlines()) <= 3 and not workdir.exists()


def test_taps_of_a_network(capsys):
  assert (
    launch.main(
      ["launch.py", "list", "taps", "--student=mlp(8)", "--dataset=digits"]
    )
    == 0
  )
  rows = capsys.readouterr().out.splitlines()
  assert [row.split() for row in rows if "activation" in row] == [
    ["stage_0/activation", "1x8", "Activation"]
  ]


def tiny_vit():
  """A ViT's tensors under timm's names, for 3-channel images of 8 x 8."""
  rng = np.random.default_rng(0)
  width, shapes = 8, {}
  shapes["cls_token"] = (1, 1, width)
  shapes["pos_embed"] = (1, 5, width)
  shapes["patch_embed.proj.weight"] = (width, 3, 4, 4)
  shapes["patch_embed.proj.bias"] = (width,)
  for name, (rows, columns) in {
    "attn.qkv": (3 * width, width),
    "attn.proj": (width, width),
    "mlp.fc1": (4 * width, width),
    "mlp.fc2": (width, 4 * width),
  }.items():
    shapes[f"blocks.0.{name}.weight"] = (rows, columns)
    shapes[f"blocks.0.{name}.bias"] = (rows,)
  for name in ("blocks.0.norm1", "blocks.0.norm2", "norm"):
    shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (width,)
  shapes["head.weight"], shapes["head.bias"] = (2, width), (2,)
  return {
    name: rng.normal(size=shape).astype(np.float32)
    for name, shape in shapes.items()
  }


@pytest.mark.slow
def test_teacher_from_a_file(tmp_path, folder, undrawn):
  """A published format, a folder of pictures, a method that looks inside."""
  from safetensors.numpy import save_file

  pictures = pictures_of(folder, classes=2, count=8)
  save_file(tiny_vit(), tmp_path / "teacher.safetensors")
  found = results_of(
    tmp_path / "run",
    f"--dataset={pictures}",
    "--labels=none",
    f"--teacher_from={tmp_path / 'teacher.safetensors'}",
    "--teacher=vit(patch=4, width=8, depth=1, heads=2, normalise='half')",
    "--student=vit(patch=4, width=4, depth=1, heads=2)",
    "--distillation=attention_maps",
    "--batch_size=8",
  )
  assert "normalise='half'" in found["teacher"]["model"]
  assert found["teacher"]["test_examples"] == 16
