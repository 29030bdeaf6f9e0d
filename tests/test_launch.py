"""The launcher: what bad input says, and what a run leaves behind."""

import json
import os
import pathlib
import re
import runpy
import subprocess
import sys

import jax
import numpy as np
import pytest
import tensorflow_datasets as tfds

import launch
from kdjax.runner.cli import COMMANDS
from kdjax.runner.report import pictures, progress, style
from kdjax.train.devices import placement

ROOT = pathlib.Path(launch.__file__).parent
# For a teacher that is trained already: how one is trained would do nothing.
STUDENT = (
  "--dataset=digits", "--student=mlp(8)", "--epochs=2", "--seeds=2",
  "--batch_size=64",
)  # fmt: skip
TINY = (
  *STUDENT, "--teacher=mlp(16, dropout=0.1)", "--teacher_epochs=1",
  "--teacher_batch_size=64", "--teacher_augment=shift(2)",
)  # fmt: skip

BAD = [
  # flags and commands
  (["--temperatur=4"], ["temperatur=4", "did you mean --temperature?"]),
  (["distil"], ["command 'distil'", "'distill'"]),
  (["distill", "twice"], ["twice"]),
  (["quantify", "--nolatency"], ["latency", "quantify has no such flag"]),
  (["--experiment=mnist_dem"], ["'mnist_dem'", "'mnist_demo'"]),
  (["list", "metods"], ["'metods'", "'methods'"]),
  (["plot", "norm"], ["'norm'", "'norms'"]),
  (["plot"], ["temperature", "norms"]),
  (["--nocontrols=1"], ["--nocontrols", "argument"]),
  (["--nolatency="], ["--nolatency", "argument"]),
  (["--teacher_from="], ["--teacher_from=", "empty"]),
  (["--workdir= "], ["--workdir=", "empty"]),
  (["--experiment="], ["--experiment=", "empty"]),
  # numbers
  (["--temperature=0"], ["--temperature=0", "> 0"]),
  (["--temperature=-4"], ["--temperature=-4", "> 0"]),
  (["--temperature=nan"], ["--temperature=nan"]),
  (["--temperature=inf"], ["--temperature=inf"]),
  (["--temperature=1e999"], ["--temperature=inf"]),
  (["--temperature=warm"], ["--temperature=warm", "a number or a schedule"]),
  (["--temperature=linear(4, -1, 50)"], ["linear(4, -1, 50)", "at step 41"]),
  (["--temperature=linear(4)"], ["linear(4)", "stop"]),
  (["--temperature=1,4"], ["--temperature=1,4", "sweep"]),
  (["sweep"], ["several values", "--temperature"]),
  (["sweep", "--temperature=1,-4"], ["--temperature=-4", "> 0"]),
  (["sweep", "--temperature=1,1"], ["--temperature=1,1", "1", "twice"]),
  (["--hard_weight=1.5"], ["--hard_weight=1.5", "[0, 1]"]),
  (["--hard_weight=-0.1"], ["--hard_weight=-0.1"]),
  (["--label_smoothing=1"], ["--label_smoothing=1", "[0, 1)"]),
  (["--epochs=0"], ["--epochs=0", ">= 1"]),
  (["--epochs=2.5"], ["--epochs=2.5", "whole number"]),
  (["--seeds=0"], ["--seeds=0", ">= 1"]),
  (["--seeds=True"], ["--seeds=True", "whole number"]),
  (["--learning_rate=0"], ["--learning_rate=0", "> 0"]),
  (["--validation=1"], ["--validation=1", "[0, 1)"]),
  (["--batch_size=100"], ["100", "8", "96"]),
  # methods
  (["--distillation=kdd"], ["method 'kdd'", "'kd'"]),
  (["--distillation=kd("], ["kd("]),
  (["--distillation=kd:-1 + ce"], ["kd:-1", "not negative"]),
  (["--distillation=kd:nan + ce"], ["nan"]),
  (["--distillation=kd(temperature=-1)"], ["temperature=-1"]),
  (["--distillation=kd(temprature=1)"], ["temprature", "temperature"]),
  (["--distillation=kd(temperature=(4, 5))"], ["temperature=(4, 5)"]),
  (["--distillation=kd + kd"], ["twice"]),
  (["--distillation=kd:1", "--hard_weight=0.5"], ["hard_weight=0.5", "kd:1"]),
  (["--distillation=__import__('os').remove('x')"], ["cannot read"]),
  # networks and optimisers
  (["--student=mpl(8)"], ["model 'mpl'", "'mlp'"]),
  (["--student=mlp(0)"], ["mlp(0)", ">= 1"]),
  (["--student=mlp(8, drop=1)"], ["drop", "dropout"]),
  (["--teacher=mlp(8, dropout=1)"], ["dropout", "[0, 1)"]),
  (["--optimizer=adamm"], ["'adamm'", "'adam'"]),
  (["--optimizer=sgd(momentun=0.9)"], ["momentun"]),
  (["--optimizer=adam(b1=nan)"], ["adam(b1=nan)", "b1", "[0, 1)"]),
  (["--teacher_optimizer=sgd(momentum=inf)"], ["momentum", "[0, 1)", "inf"]),
  (["--schedule=cosine(end=nan)"], ["end", "[0, 1]", "nan"]),
  (["--schedule=cosin"], ["'cosin'", "'cosine'"]),
  (["--augment=shft(2)"], ["'shft'", "'shift'"]),
  (["--augment=mixup + flip"], ["mixup", "last"]),
  (["--augment=shift(8)"], ["shift(8)", "8 x 8", "out of sight"]),
  (["--teacher_augment=crop(9)"], ["crop(9)", "8 x 8", "out of sight"]),
  (["--augment=mixup(alpha=0)"], ["alpha", "> 0"]),
  (["--teacher_view=cutmix"], ["--teacher_view=cutmix", "--augment"]),
  (["--teacher_view=shft(2)"], ["'shft'", "'shift'"]),
  (
    ["--augment=mixup", "--shuffled_teacher"],
    ["--shuffled_teacher", "--teacher_view=none"],
  ),
  # data
  (["--dataset=digit"], ["digit", "digits"]),
  (["--dataset=photo_patches"], ["photo_patches", "--transfer_dataset"]),
  (
    ["quantify", "--dataset=noise_images(9)"],
    ["noise_images(9)", "no classes"],
  ),
  (["--dataset=./nowhere"], ["nowhere"]),
  (["--dataset=image_folder"], ["image_folder", "'path'"]),
  (["--labels=0"], ["--labels=0", ">= 1"]),
  (["--labels=5000"], ["5000"]),
  (["--omit_classes=12"], ["12"]),
  (["--omit_classes=three"], ["--omit_classes=three"]),
  (["--background=1,2,256"], ["--background=1,2,256", "white, black"]),
  (["--crop_size=9"], ["--crop_size=9", "8 x 8", "--image_size"]),
  (["--augment=random_resized_crop(size=4)"], ["4 x 4", "--crop_size"]),
  (["--crop_size=6", "--teacher_augment=random_resized_crop(size=5)"], ["6"]),
  (["--transfer_dataset=digit"], ["digit", "digits"]),
  (["--transfer_dataset=noise_image(9)"], ["noise_images"]),
  (["--transfer_images=9"], ["--transfer_images=9", "--transfer_dataset"]),
  (
    ["--transfer_dataset=noise_images(9)", "--transfer_images=10"],
    ["10", "9"],
  ),
  (["--evaluate_every=0"], ["--evaluate_every=0", ">= 1"]),
  # devices and folders
  (["--accelerator=tpu"], ["--accelerator=tpu", "cpu"]),
  (["--accelerator=npu"], ["npu", "cpu"]),
  (["--host_devices=2", "--accelerator=gpu"], ["--host_devices=2"]),
]


def fails(capsys, arguments, *, status=2):
  """Runs the launcher on bad input and returns what it said."""
  assert launch.main(["launch.py", *arguments]) == status
  captured = capsys.readouterr()
  assert "Traceback" not in captured.err
  assert 1 <= len(captured.err.strip().splitlines()) <= 3
  return captured.err


@pytest.mark.parametrize(
  ("arguments", "said"), BAD, ids=[" ".join(case[0]) for case in BAD]
)
def test_bad_input(arguments, said, capsys, tmp_path):
  workdir = tmp_path / "run"
  # These take none of a run's flags.
  alone = arguments[0] in ("list", "plot")
  flags = [] if alone else [*TINY, f"--workdir={workdir}"]
  message = fails(capsys, [*flags, *arguments])
  assert all(part in message for part in said), message
  assert not workdir.exists()


def test_teacher_that_is_not_there(capsys):
  assert "nowhere" in fails(capsys, [*STUDENT, "--teacher_from=nowhere"])


@pytest.mark.parametrize("place", ["a/file/below", "/proc/kdjax"])
def test_workdir_that_cannot_be_written(place, capsys, tmp_path):
  (tmp_path / "a").mkdir()
  (tmp_path / "a" / "file").write_text("mine")
  message = fails(capsys, [*TINY, f"--workdir={tmp_path / place}"])
  assert "--workdir" in message


def test_workdir_with_a_run_is_left_alone(capsys, tmp_path):
  (tmp_path / "results.json").write_text("mine")
  assert "holds files" in fails(capsys, [*TINY, f"--workdir={tmp_path}"])
  assert (tmp_path / "results.json").read_text() == "mine"


def rows(image=None):
  plain = np.zeros((4, 4, 1), np.float32)
  return [
    {"image": plain if image is None or i != 7 else image, "label": i % 2}
    for i in range(20)
  ]


def relabel(path):
  """Says in the data set's own description that there is one class only."""
  for file in pathlib.Path(path).glob("features.json"):
    text = file.read_text()
    assert '"numClasses": "2"' in text
    file.write_text(text.replace('"numClasses": "2"', '"numClasses": "1"'))


@pytest.mark.parametrize(
  ("image", "damage", "arguments", "said"),
  [
    (np.full((4, 4, 1), np.nan, np.float32), None, [], ["7", "train"]),
    (None, relabel, [], ["label"]),
    (None, None, ["--train_split=train[:0]"], ["train[:0]"]),
  ],
  ids=["NaN image", "label out of range", "empty split"],
)
def test_bad_data(image, damage, arguments, said, prepare, capsys, tmp_path):
  features = {
    "image": tfds.features.Tensor(shape=(4, 4, 1), dtype=np.float32),
    "label": tfds.features.ClassLabel(num_classes=2),
  }
  path = prepare(features, {"train": rows(image), "test": rows()})
  if damage is not None:
    damage(path)
  capsys.readouterr()  # what preparing said
  message = fails(
    capsys,
    [*TINY, f"--dataset={path}", f"--workdir={tmp_path / 'run'}", *arguments],
  )
  assert all(part in message for part in said), message


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  """A tiny run, from data to report, on one device."""
  workdir = tmp_path_factory.mktemp("runs") / "first"
  to_png, one = style.to_png, jax.local_devices()[:1]
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(placement, "choose", lambda accelerator: one)
    patch.setattr(style, "to_png", lambda x: to_png(x, dots_per_inch=20))
    assert launch.main(["launch.py", *TINY, f"--workdir={workdir}"]) == 0
  return workdir


def read(workdir):
  return json.loads((workdir / "results.json").read_text())


def test_results_keep_the_contract(finished):
  results = read(finished)
  keys = {
    "experiment",
    "teacher",
    "student",
    "baseline",
    "environment",
    "seconds",
  }
  assert keys <= set(results)
  assert {"jax", "devices", "git"} <= set(results["environment"])
  assert set(results["controls"]) == {"label_smoothing", "augmented"}
  networks = [("teacher", 1), ("student", 2), ("baseline", 2)]
  entries = [(results[name], size) for name, size in networks]
  entries += [(control, 2) for control in results["controls"].values()]
  for entry, size in entries:
    assert len(entry["test_accuracy"]) == size
    assert all(0 <= value <= 1 for value in entry["test_accuracy"])
    assert entry["test_examples"] == 355
  assert results["teacher"]["parameters"] == 64 * 16 + 16 + 16 * 10 + 10 + 0
  assert results["student"]["parameters"] == 64 * 8 + 8 + 8 * 10 + 10
  digests = results["student"]["digest"] + results["baseline"]["digest"]
  assert len(set(digests)) == 4 and all(len(digest) == 64 for digest in digests)


def test_a_run_leaves_its_files(finished):
  names = {str(path.relative_to(finished)) for path in finished.rglob("*")}
  assert {
    "metrics.jsonl", "report.html", "figures/accuracy.png", "figures/curves.png",
    "figures/soft_targets.png", "figures/agreement.png", "teacher/network.json",
    "student/network.json", "tensorboard",
  } <= names  # fmt: skip
  lines = (finished / "metrics.jsonl").read_text().splitlines()
  assert len(lines) == 1 + 2 * 4  # epochs times networks
  assert "http" not in (finished / "report.html").read_text().split("<body")[0]


def test_same_settings_same_run_and_a_teacher_can_be_reused(
  finished, capsys, monkeypatch, tmp_path, quick_runs
):
  # A line an epoch, however short it is.
  monkeypatch.setattr(progress, "LEAST", 0.0)
  monkeypatch.setattr(progress, "SHARE", 0.0)
  # The first run drew them.
  monkeypatch.setattr(pictures, "makers", lambda *of_run: {})
  arguments = [
    *STUDENT,
    # As many networks side by side: the same bits.
    "--teacher_augment=shift(2)",
    f"--teacher_from={finished}",
    "--nolatency",
    f"--workdir={tmp_path / 'again'}",
  ]
  assert launch.main(["launch.py", *arguments]) == 0
  first, again = read(finished), read(tmp_path / "again")
  for name in ("student", "baseline"):
    assert first[name]["digest"] == again[name]["digest"]
  assert first["teacher"]["test_accuracy"] == again["teacher"]["test_accuracy"]
  # One epoch is too few for this teacher: its baselines on labels do better.
  useless = "The teacher errs more than the baseline"
  said = capsys.readouterr().err
  assert f"warning: {useless}" in said
  page = (tmp_path / "again" / "report.html").read_text()
  assert f'<p class="headline">{useless}' in page
  # Each stage says that it compiles; latencies were taken the first time only.
  arms = "student + baseline + label_smoothing + augmented"
  assert f"{arms}: compiling\n" in said
  line = (
    rf"{re.escape(arms)}: epoch 1 of 2, loss \d\.\d{{4}}, error \d+\.\d\d %,"
  )
  assert re.search(
    rf"{line} [\d,]+ examples a second, at most .* left\n", said
  ), said
  assert "measuring latency" not in said and "Batch of 64" not in page
  assert "latency_ms" not in again["student"]
  assert set(first["student"]["latency_rounds"]) == {"1", "64"}
  assert "Batch of 64" in (finished / "report.html").read_text()


def test_teacher_of_other_classes_is_refused(
  finished, folder, capsys, tmp_path
):
  path = folder(
    {f"{name}/{i}.png": np.zeros((8, 8)) for name in "abc" for i in range(5)}
  )
  message = fails(
    capsys,
    [
      *STUDENT,
      f"--dataset={path}",
      f"--teacher_from={finished}",
      f"--workdir={tmp_path / 'run'}",
    ],
  )
  assert "10 classes" in message and "3" in message


def test_teacher_that_saw_the_held_out_images_is_refused(
  finished, capsys, tmp_path
):
  arguments = [*STUDENT, f"--teacher_from={finished}", "--validation=0.2"]
  message = fails(capsys, [*arguments, f"--workdir={tmp_path / 'run'}"])
  assert "--validation=0.2" in message


def test_damaged_teacher_is_refused(finished, capsys, tmp_path):
  import shutil

  copy = tmp_path / "copy"
  shutil.copytree(finished / "teacher", copy / "teacher")
  note = copy / "teacher" / "network.json"
  note.write_text(note.read_text().replace('"digest": "', '"digest": "0'))
  arguments = [
    *STUDENT,
    f"--teacher_from={copy}",
    f"--workdir={tmp_path / 'run'}",
  ]
  assert "damaged" in fails(capsys, arguments, status=4)


@pytest.fixture(scope="module")
def varied(finished, tmp_path_factory):
  """A run with many settings that have nothing to do with each other."""
  workdir = tmp_path_factory.mktemp("runs") / "varied"
  arguments = [
    *STUDENT, f"--teacher_from={finished}", "--nocontrols", "--nolatency",
    "--epochs=5", "--evaluate_every=2", "--omit_classes=3",
    "--distillation=kd(temperature=linear(8, 2, 30)):cosine(1, 0.5, 30) + ce:0.1",
    "--optimizer=sgd(momentum=0.9, nesterov=True)",
    "--schedule=linear(warmup=0.1)", f"--workdir={workdir}",
  ]  # fmt: skip
  with pytest.MonkeyPatch.context() as patch:
    # The first run drew them.
    patch.setattr(pictures, "makers", lambda *of_run: {})
    one = jax.local_devices()[:1]
    patch.setattr(placement, "choose", lambda accelerator: one)
    assert launch.main(["launch.py", *arguments]) == 0
  return workdir


def test_measured_every_few_epochs_and_at_the_end(varied):
  lines = (varied / "metrics.jsonl").read_text().splitlines()
  rows = [json.loads(line) for line in lines]
  student = [row for row in rows if row["network"] == "student"]
  measured = [row["epoch"] for row in student if "test_accuracy" in row]
  assert [row["epoch"] for row in student] == [1, 2, 3, 4, 5]
  assert measured == [2, 4, 5]
  last = read(varied)["student"]["test_accuracy"]
  np.testing.assert_allclose(student[-1]["test_accuracy"], last)


def test_a_class_is_omitted(varied):
  results = read(varied)
  assert len(results["omitted_class"]["recall_corrected"]) == 2
  assert results["omitted_class"]["baseline_recall"] == [0.0, 0.0]


def test_weights_and_temperatures_follow_schedules(varied):
  assert "linear(8, 2, 30)" in read(varied)["objective"]


@pytest.mark.slow
def test_networks_see_the_middle(tmp_path, bare_runs):
  """A run on 6 x 6 of 8 x 8 pixels: sizes, and a teacher that can be reused."""
  arguments = [
    "--nocontrols", "--crop_size=6", "--epochs=1",
    "--augment=random_resized_crop + flip",
  ]  # fmt: skip
  first = [*TINY, *arguments, f"--workdir={tmp_path / 'first'}"]
  assert launch.main(["launch.py", *first]) == 0
  found = read(tmp_path / "first")
  assert found["student"]["parameters"] == 36 * 8 + 8 + 8 * 10 + 10
  again = [f"--teacher_from={tmp_path / 'first'}", "--augment=none"]
  again = [*STUDENT, *arguments, *again, f"--workdir={tmp_path / 'again'}"]
  assert launch.main(["launch.py", *again]) == 0
  assert (
    read(tmp_path / "again")["teacher"]["test_accuracy"]
    == (found["teacher"]["test_accuracy"])
  )


@pytest.mark.slow
@pytest.mark.parametrize(
  ("arguments", "check"),
  [
    (["--labels=40", "--distillation=soft"], lambda found: True),
    (
      ["--augment=shift(1)", "--resident_megabytes=0", "--seeds=1"],
      lambda found: "augmented" in found["controls"],
    ),
  ],
  ids=["few labels", "views from disk"],
)
def test_runs(finished, arguments, check, tmp_path, bare_runs):
  workdir = tmp_path / "run"
  arguments = [*STUDENT, f"--teacher_from={finished}", *arguments]
  assert launch.main(["launch.py", *arguments, f"--workdir={workdir}"]) == 0
  assert check(read(workdir))


@pytest.mark.slow
def test_sweep_equals_single_runs(finished, tmp_path, bare_runs):
  """Each cell of a sweep is the run that has these settings alone."""
  shared = [*STUDENT, "--nocontrols", f"--teacher_from={finished}"]
  grid = ["--temperature=2,8", "--hard_weight=0,0.5"]
  workdir = tmp_path / "sweep"
  assert (
    launch.main(["launch.py", "sweep", *shared, *grid, f"--workdir={workdir}"])
    == 0
  )
  sweep = read(workdir)["sweep"]
  assert np.shape(sweep["accuracy"]) == (2, 2, 2)
  assert set(sweep["recommendation"]) == {"temperature", "hard_weight"}
  single = [*shared, "--temperature=8", "--hard_weight=0.5"]
  assert (
    launch.main(["launch.py", *single, f"--workdir={tmp_path / 'one'}"]) == 0
  )
  np.testing.assert_allclose(
    sweep["accuracy"][1][1],
    read(tmp_path / "one")["student"]["test_accuracy"],
    atol=1e-2,
  )


def test_divergence_ends_with_status_3(finished, capsys, tmp_path):
  arguments = [
    *STUDENT, f"--teacher_from={finished}", f"--workdir={tmp_path / 'run'}",
    "--optimizer=sgd", "--learning_rate=1e30", "--nocontrols",
  ]  # fmt: skip
  assert launch.main(["launch.py", *arguments]) == 3
  assert "not finite" in capsys.readouterr().err


@pytest.mark.parametrize(
  "what",
  [
    "methods",
    "models",
    "datasets",
    "transfer_datasets",
    "tasks",
    "experiments",
    "views",
    "optimizers",
    "schedules",
  ],
)
def test_list(what, capsys):
  assert launch.main(["launch.py", "list", what]) == 0
  assert len(capsys.readouterr().out.splitlines()) > 1


def test_help_names_every_flag(capsys):
  from kdjax.runner.config import options

  assert launch.main(["launch.py", "--help"]) == 0
  text = capsys.readouterr().out
  flags = [one.flag for one in options.options()]
  assert len(flags) == len(set(flags))
  assert all(f"--{flag}:" in text or f"]{flag}:" in text for flag in flags)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_says_what_it_is_for(command, capsys):
  assert launch.main(["launch.py", command, "-h"]) == 0
  assert f"launch.py {command}" in capsys.readouterr().out.splitlines()[0]


@pytest.mark.parametrize("figure", ["temperature", "norms"])
def test_plot(figure, tmp_path, capsys):
  workdir = tmp_path / figure
  assert launch.main(["launch.py", "plot", figure, f"--workdir={workdir}"]) == 0
  assert (workdir / f"{figure}.png").stat().st_size > 5000
  assert json.loads((workdir / f"{figure}.json").read_text())


def test_bad_input_from_the_shell(monkeypatch, capsys):
  """The file as a program: status, one line, and no traceback."""
  call = ["launch.py", "--accelerator=tpu", "--dataset=digits"]
  monkeypatch.setattr(sys, "argv", call)
  with pytest.raises(SystemExit) as end:
    runpy.run_path(str(ROOT / "launch.py"), run_name="__main__")
  said = capsys.readouterr().err
  assert end.value.code == 2
  assert said.count("\n") <= 3 and "tpu" in said


@pytest.mark.slow
def test_devices_do_not_matter_from_the_shell(tmp_path):
  """The real launcher on one and on two devices: the same accuracies."""
  found = {}
  for devices in (1, 2):
    workdir = tmp_path / str(devices)
    subprocess.run(
      [
        sys.executable,
        "launch.py",
        *TINY,
        f"--host_devices={devices}",
        f"--workdir={workdir}",
        "--accelerator=cpu",
      ],  # fmt: skip
      cwd=ROOT,
      check=True,
      env=os.environ
      | {
        "XLA_FLAGS": "--xla_backend_optimization_level=0"
        " --xla_cpu_use_fusion_emitters=false",
        "NPROC": "",
      },
    )
    found[devices] = read(workdir)
  assert [len(found[n]["environment"]["devices"]) for n in (1, 2)] == [1, 2]
  for name in ("student", "baseline"):
    np.testing.assert_allclose(
      found[1][name]["test_accuracy"],
      found[2][name]["test_accuracy"],
      atol=6e-3,
    )
