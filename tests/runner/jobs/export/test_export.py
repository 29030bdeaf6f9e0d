"""A finished run leaves as files that are its student, or as nothing."""

import json
import pathlib
import shutil

import numpy as np
import pytest
import small_runs

import launch
from kdjax.core.errors import StorageError, UserError
from kdjax.models.export import formats
from kdjax.models.export.signature import About
from kdjax.runner.jobs.export import write
from kdjax.runner.jobs.export.load import load


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """A run of two seeds on digits, half of whose pixels are cropped away."""
  with small_runs.bare():
    folder = tmp_path_factory.mktemp("runs") / "run"
    tiny = (
      "--dataset=digits", "--crop_size=6", "--teacher=mlp(4)",
      "--student=mlp(4)", "--seeds=2", "--teacher_epochs=1", "--epochs=1",
      "--nocontrols", "--batch_size=500", "--nopreflight",
      f"--workdir={folder}",
    )  # fmt: skip
    assert launch.main(["launch.py", *tiny]) == 0
  return folder


def exported(run, workdir, *flags):
  command = ["export", f"--from={run}", f"--workdir={workdir}", *flags]
  return launch.main(["launch.py", *command])


@pytest.mark.parametrize(
  "names",
  [
    [x for x in formats.FORMATS if x != "onnx"],
    # The converter takes seconds to import.
    pytest.param([*formats.FORMATS], marks=pytest.mark.slow),
  ],
  ids=["all but onnx", "all"],
)
def test_all_formats_are_the_student(run, names, tmp_path):
  flag = f"--format={','.join(names)}"
  assert exported(run, tmp_path / "out", "--member=1", flag) == 0
  folder = tmp_path / "out" / "student"
  card = json.loads((folder / "card.json").read_text())
  results = json.loads((run / "results.json").read_text())
  reported = results["student"]["test_accuracy"][1]
  assert card["network"]["seed"] == 1 and card["reported_accuracy"] == reported
  assert set(card["formats"]) == set(names)
  images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), np.uint8)
  answers = [load(folder, name)(images) for name in names]
  for one, scores in zip(answers, card["formats"].values(), strict=True):
    np.testing.assert_allclose(one, answers[0], rtol=0, atol=1e-4)
    assert scores["accuracy"] == reported and scores["images"] == 1000
  assert card["input"] == {
    "orientation": "upright, as its EXIF says",
    "background": [255, 255, 255],
    "mode": "L",
    "crop": "middle square",
    "size": [8, 8],
    "filter": "bilinear",
    "values": [0, 255],
    "dtype": "uint8",
    "inside": {
      "scale": "to [0, 1]", "crop_size": 6, "mean": None, "deviation": None,
    },
  }  # fmt: skip
  page = (folder / "MODEL_CARD.md").read_text()
  assert "its middle square, scaled to 8 x 8 by Pillow's bilinear" in page
  # Readable by others, as far as the umask lets any new file be.
  (tmp_path / "new").write_text("")
  plain = (tmp_path / "new").stat().st_mode
  assert {x.stat().st_mode for x in write._files(folder)} == {plain}
  assert "CC BY 4.0" in page and "the middle 6 x 6" in page
  # One bit of any file, and nothing is loaded.
  (folder / "network.stablehlo").write_bytes(b"x")
  with pytest.raises(StorageError, match=r"network\.stablehlo is damaged"):
    load(folder, "safetensors")


def test_the_teacher_leaves_too(run, tmp_path):
  out = tmp_path / "out"
  assert exported(run, out, "--network=teacher", "--format=safetensors") == 0
  assert (out / "teacher" / "network.safetensors").exists()


def check_nothing_left(workdir):
  """No more than the lock of the run."""
  assert {file.name for file in workdir.iterdir()} <= {"run.lock"}


@pytest.mark.parametrize(
  "name",
  [
    pytest.param(x, marks=[pytest.mark.slow] * (x == "onnx"))
    for x in formats.FORMATS
  ],
)
def test_a_mismatch_fails_the_export(run, tmp_path, capsys, monkeypatch, name):
  """Answers that differ in the last digits are another network's."""
  right = formats.FORMATS[name]

  def load_wrong(path, about):
    answer = right.load(path, about)
    return lambda images: answer(images) * (1 + 3e-4)

  wrong = right._replace(load=load_wrong)
  monkeypatch.setitem(formats.FORMATS, name, wrong)
  assert exported(run, tmp_path / "out", f"--format={name}") == 4
  message = capsys.readouterr().err
  assert f"{name}" in message and "is not the network" in message
  assert len(message.strip().splitlines()) == 1
  check_nothing_left(tmp_path / "out")


def test_what_cannot_be_written_leaves_nothing(
  run, tmp_path, capsys, monkeypatch
):
  def fail(*_):
    raise KeyError("an operation\nthat nobody knows")

  broken = formats.FORMATS["onnx"]._replace(write=fail)
  monkeypatch.setitem(formats.FORMATS, "onnx", broken)
  assert exported(run, tmp_path / "out") == 2
  assert "--format=onnx cannot hold mlp(4)" in capsys.readouterr().err
  check_nothing_left(tmp_path / "out")


@pytest.mark.parametrize(
  ("flags", "status", "said"),
  [
    (["--format=onx"], 2, "did you mean 'onnx'"),
    (["--network=baseline"], 2, "teacher"),
    (["--member=2"], 2, "0 to 1"),
    (["--network=teacher", "--member=1"], 2, "no saved network"),
    (["--temperature=4"], 2, "--temperature=4"),
    (["--from=/nowhere"], 2, "cannot read"),
  ],
)
def test_bad_input(run, tmp_path, capsys, flags, status, said):
  assert exported(run, tmp_path / "out", *flags) == status
  message = capsys.readouterr().err
  assert said in message and len(message.strip().splitlines()) == 1
  assert not (tmp_path / "out").exists()


def change_results(folder, change):
  file = folder / "results.json"
  results = json.loads(file.read_text())
  change(results)
  file.write_text(json.dumps(results))


def other_accuracy(results):
  results["student"]["test_accuracy"][0] += 0.1


def other_network(results):
  results["student"]["digest"][0] = "0" * 64


def other_images(results):
  results["fingerprints"]["scored"] = "0" * 64


@pytest.mark.parametrize(
  ("change", "status", "said"),
  [
    (other_accuracy, 4, "the run reported"),
    (other_network, 4, "is not the one"),
    (other_images, 2, "--data_dir"),
  ],
)
def test_it_must_be_the_run_s(run, tmp_path, capsys, change, status, said):
  copy = tmp_path / "copy"
  shutil.copytree(run, copy)
  change_results(copy, change)
  assert exported(copy, tmp_path / "out", "--format=safetensors") == status
  assert said in capsys.readouterr().err
  if (tmp_path / "out").exists():
    check_nothing_left(tmp_path / "out")


def test_needs_a_run_and_its_packages(monkeypatch, capsys):
  assert launch.main(["launch.py", "export"]) == 2
  assert "--from=WORKDIR" in capsys.readouterr().err
  assert launch.main(["launch.py", "--from=x"]) == 2
  assert "distill has no such flag" in capsys.readouterr().err
  monkeypatch.setattr(formats, "_is_installed", lambda _: False)
  with pytest.raises(UserError, match="needs jax2onnx(.|\n)*--no-deps"):
    formats.parse_formats("onnx")


def test_few_bits_are_not_for_every_format():
  about = About("mlp(2)", 2, ("a", "b"), (4, 4, 1), "uint8", None, "w8")
  with pytest.raises(UserError, match="computes in w8"):
    formats.fitting(formats.parse_formats("onnx"), about, "onnx")


def test_sums_are_of_all_files(tmp_path):
  (tmp_path / "a").write_bytes(b"")
  (tmp_path / "b").mkdir()
  (tmp_path / "b" / "c").write_bytes(b"c")
  sums = write._sums(tmp_path)
  assert [line.split()[1] for line in sums.splitlines()] == ["a", "b/c"]


def test_the_example_is_short():
  root = pathlib.Path(launch.__file__).parent
  lines = (root / "examples" / "serve_onnx.py").read_text().splitlines()
  assert len(lines) <= 70 and not any("jax" in x for x in lines[1:])
