"""Segmentation through the commands, and by `kdjax.distill` alike."""

import json

import jax
import jax.numpy as jnp
import mask_folders
import numpy as np
import optax
import pytest
import small_runs
from job_contract import check_results, run_killed_at_the_end

import kdjax
import launch
from kdjax.core.storage import load_variables, read_note
from kdjax.models import make_model
from kdjax.train.batch import step_key

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_runs")]

NETWORKS = ("--teacher=unet(4, 1, 1)", "--student=unet(2, 1, 1)")
TEACHER = ("--teacher_epochs=2", "--teacher_batch_size=8")
STUDENT = ("--epochs=2", "--batch_size=8", "--seeds=2", "--nocontrols")
METHOD = "--distillation=kd(temperature=2):1 + cwd(answers=True):1 + ce:1"


def run(workdir, *words):
  call = ["launch.py", *words, f"--workdir={workdir}"]
  assert launch.main(call) == 0
  return json.loads((workdir / "results.json").read_text())


@pytest.fixture(scope="module")
def masks(tmp_path_factory):
  """The flag of a folder of images with masks."""
  return f"--dataset={mask_folders.write(tmp_path_factory.mktemp('set'), 30)}"


@pytest.fixture(scope="module")
def trained(masks, tmp_path_factory):
  """A finished run: its folder and results."""
  words = (masks, *NETWORKS, *TEACHER, *STUDENT, METHOD, "--schedule=constant")
  folder = tmp_path_factory.mktemp("trained") / "run"
  with small_runs.bare():
    return folder, run(folder, *words)


def test_a_stopped_run_comes_to_the_same_and_its_page_has_maps(
  masks, capsys, tmp_path
):
  workdir = tmp_path / "run"
  words = (masks, *NETWORKS, *TEACHER, *STUDENT, METHOD, "--augment=shift(1)")
  run_killed_at_the_end(capsys, "distill", *words, workdir=workdir)
  results = check_results(workdir, "distill")
  assert results["task"] == "segmentation"
  for name, count in (("teacher", 1), ("student", 2), ("baseline", 2)):
    entry = results[name]
    for score in ("test_mean_iou", "accuracy", "boundary_iou"):
      assert len(entry[score]) == count and np.all(np.array(entry[score]) <= 1)
    assert len(entry["per_pixel_class"]["iou"]) == 3
  shown = (workdir / "report.html").read_text()
  assert "Test mean IoU, %" in shown and "Boundary IoU" in shown
  assert "share of test pixels" in shown and "Left out" not in shown
  assert (workdir / "figures" / "maps.png").exists()


def test_a_cache_gives_what_the_teacher_gives(
  masks, trained, tmp_path, bare_runs
):
  folder, live = trained
  teacher = f"--teacher_from={folder / 'teacher'}"
  cache = tmp_path / "cache"
  assert launch.main([
    "launch.py", "cache", masks, teacher, "--cache_dtype=float32",
    NETWORKS[1], METHOD, f"--workdir={cache}",
  ]) == 0  # fmt: skip
  cached = run(
    tmp_path / "cached", masks, NETWORKS[1], *STUDENT, METHOD,
    "--schedule=constant", f"--teacher_cache={cache}",
  )  # fmt: skip
  assert cached["student"]["test_mean_iou"] == live["student"]["test_mean_iou"]
  assert cached["student"]["digest"] == live["student"]["digest"]


def test_methods_are_compared_and_compressed_networks_measured(
  masks, tmp_path, bare_runs
):
  search = (
    "--search_rates=0.01",
    "--search_weights=1",
    "--search_smoothing=0.1",
  )
  results = run(
    tmp_path / "compare", "compare", "kd", "cwd", "pairwise", masks, *NETWORKS,
    *TEACHER, *STUDENT[:3], *search,
  )  # fmt: skip
  assert set(results["methods"]) == {"kd", "cwd", "pairwise"}
  results = run(
    tmp_path / "sweep", "sweep", masks, *NETWORKS, *TEACHER, *STUDENT,
    "--learning_rate=0.01,0.03", "--quantization=w8",
  )  # fmt: skip
  assert len(results["sweep"]["cells"]) == 2
  assert len(results["compression"]["stored_mean_iou"]) == 2


def test_small_networks_of_pixels_in_a_table(masks, tmp_path, bare_runs):
  results = run(
    tmp_path / "run", "compress", masks, *NETWORKS, *TEACHER, *STUDENT[:2],
    "--seeds=1", "--quantization=w8a8", "--nolatency",
  )  # fmt: skip
  for row in results["table"]["rows"].values():
    assert np.isfinite(row["test_mean_iou"]).all()


def test_a_finished_run_is_repeated(trained, tmp_path, bare_runs):
  folder, results = trained
  again = run(tmp_path / "again", "reproduce", str(folder))
  assert again["student"]["digest"] == results["student"]["digest"]


def test_a_network_that_answers_at_every_pixel_is_exported(
  trained, capsys, tmp_path
):
  folder, results = trained
  exported = tmp_path / "exported"
  words = ["export", f"--from={folder}", "--format=onnx,safetensors"]
  assert launch.main(["launch.py", *words, f"--workdir={exported}"]) == 0
  assert "same class on all" in capsys.readouterr().out
  card = json.loads((exported / "student" / "card.json").read_text())
  assert card["reported_mean_iou"] == results["student"]["test_mean_iou"][0]
  assert card["network"]["output_shape"] == [*mask_folders.SIZE, 3]
  page = (exported / "student" / "MODEL_CARD.md").read_text()
  assert "- Output `logits`: (batch, 12, 14, 3) float32." in page
  # Any batch size, and what the student answers.
  import onnxruntime

  (file,) = (exported / "student").glob("*.onnx")
  session = onnxruntime.InferenceSession(str(file))
  network = make_model("unet(2, 1, 1)", classes=3)
  student = load_variables(folder / "student", read_note(folder / "student"))
  one = jax.tree.map(lambda x: x[0], student)
  images = mask_folders.examples(5)[0][..., None]
  for count in (1, 5):
    (got,) = session.run(None, {"images": images[:count]})
    want = network.apply(one, images[:count] / np.float32(255), train=False)
    np.testing.assert_allclose(got, want, atol=1e-4)


def test_distill_comes_to_what_the_command_does(masks, trained):
  """The same start and order give the same networks, to rounding."""
  folder, results = trained
  teacher, students = (
    load_variables(folder / name, read_note(folder / name))
    for name in ("teacher", "student")
  )
  dataset = kdjax.data.load(masks.removeprefix("--dataset="))
  train, test = (
    {
      "image": split.images.astype(np.float32) / 255,
      "label": split.labels.astype(np.int32),
    }
    for split in (dataset.train, dataset.test)
  )
  networks = [
    kdjax.from_linen(make_model(f"unet({width}, 1, 1)", classes=3))
    for width in (2, 4)
  ]
  settings = results["experiment"]["student"]
  optimizer = getattr(optax, settings["optimizer"])(settings["learning_rate"])
  size, epochs = settings["batch_size"], settings["epochs"]
  steps = -(-len(train["label"]) // size)
  plan = kdjax.data.batches(
    np.arange(len(train["label"])), size, seed=1, start=0, stop=epochs * steps
  )
  batches = [
    {k: x[index] for k, x in train.items()} | {"weight": weight}
    for index, weight in zip(plan.indices, plan.weights, strict=True)
  ]
  key = step_key(jnp.int32(1), jnp.uint32(2**32 - 1), 0)
  start = networks[0].init(jax.random.split(key)[0], train["image"][:1])
  done = kdjax.distill(
    networks[0], kdjax.live_teacher(networks[1], teacher), iter(batches),
    method=results["objective"], task=kdjax.tasks.segmentation(3),
    optimizer=optimizer, steps=epochs * steps, key=jax.random.key(1),
    variables=start, score_on=test, progress=False,
  )  # fmt: skip
  for got, want in zip(
    jax.tree.leaves(done.variables), jax.tree.leaves(students), strict=True
  ):
    np.testing.assert_allclose(got, want[1], atol=1e-3)
  for name, key in (("mean_iou", "test_mean_iou"), ("accuracy", "accuracy")):
    want = results["student"][key][1]
    assert done.metrics[name] == pytest.approx(want, abs=0.02)


def test_two_devices_take_the_steps_of_one(masks, tmp_path, monkeypatch):
  """To 1e-5 of the update: rules that divide by a gradient's size magnify rounding."""
  from kdjax.train.devices import placement

  networks = []
  for count in (1, 2):
    devices = jax.local_devices()[:count]
    monkeypatch.setattr(placement, "choose", lambda _, x=devices: x)
    workdir = tmp_path / str(count)
    run(
      workdir, masks, NETWORKS[1], *STUDENT, "--distillation=hard",
      "--optimizer=sgd", "--learning_rate=0.1", "--nolatency",
    )  # fmt: skip
    note = read_note(workdir / "student")
    networks.append(load_variables(workdir / "student", note)["params"])
  network = make_model("unet(2, 1, 1)", classes=3)
  sample = np.zeros((1, *mask_folders.SIZE, 1), np.float32)
  key = step_key(jnp.int32(1), jnp.uint32(2**32 - 1), 0)
  start = network.init(jax.random.split(key)[0], sample)["params"]
  flat = [
    np.concatenate([np.ravel(x) for x in jax.tree.leaves(one)])
    for one in (start, *(jax.tree.map(lambda x: x[1], n) for n in networks))
  ]
  update, difference = flat[1] - flat[0], flat[2] - flat[1]
  assert np.abs(difference).max() < 1e-5 * np.abs(update).max()


def test_two_devices_streams_and_masks_for_some(
  masks, tmp_path, bare_runs, monkeypatch
):
  """One device or two, images on it or read as needed: the same networks."""
  from kdjax.train.devices import placement

  words = (
    masks, *NETWORKS, *TEACHER, *STUDENT, "--augment=shift(1) + flip",
    "--labels=12", "--crop_size=10",
  )  # fmt: skip
  one = run(tmp_path / "one", *words)
  lazy = run(tmp_path / "lazy", *words, "--resident_megabytes=0")
  two_devices = jax.local_devices()[:2]
  monkeypatch.setattr(placement, "choose", lambda accelerator: two_devices)
  two = run(tmp_path / "two", *words)
  assert lazy["student"]["digest"] == one["student"]["digest"]
  for name in ("test_mean_iou", "accuracy"):
    np.testing.assert_allclose(
      two["student"][name], one["student"][name], atol=0.03
    )
