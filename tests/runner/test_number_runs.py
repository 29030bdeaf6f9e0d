"""Numbers and distributions through the commands, and by `kdjax.distill` alike."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from job_contract import check_results, run_killed_at_the_end

import kdjax
import launch
from kdjax.core.storage import load_variables, read_note
from kdjax.models import make_model
from kdjax.runner.jobs.export.load import load as load_export
from kdjax.runner.pipeline.dataset import task_of, with_task
from kdjax.train.batch import step_key

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_runs")]

TEACHER = ("--teacher=mlp(16)", "--teacher_epochs=3", "--teacher_batch_size=32")
STUDENT = ("--student=mlp(4)", "--epochs=3", "--batch_size=32", "--seeds=2")
TASKS = {
  "regression": ("rmse", "teacher_bounded:0.5 + logit_mse:0.5 + ce:0.5", 2),
  "gaussian_regression": ("negative_log_likelihood", "gaussian_kl:1 + ce:1", 4),
}


@pytest.fixture
def houses(tmp_path):
  """The flag of a table with two numbers to predict, some of them not known."""
  random = np.random.default_rng(0)
  inputs = random.normal(size=(160, 5))
  numbers = inputs @ random.normal(size=(5, 2)) + random.normal(size=(160, 2))
  numbers = numbers * (1000, 0.1) + (200_000, 3)
  numbers[random.random(numbers.shape) < 0.1] = np.nan
  path = tmp_path / "houses.csv"
  head = ",".join([*"abcde", "label_price", "label_rooms"])
  rows = [
    ",".join(map(str, row)).replace("nan", "")
    for row in np.concatenate([inputs, numbers], axis=1).tolist()
  ]
  path.write_text("\n".join([head, *rows]))
  return f"--dataset={path}"


def run(*words, workdir):
  assert launch.main(["launch.py", *words, f"--workdir={workdir}"]) == 0
  return json.loads((workdir / "results.json").read_text())


@pytest.mark.parametrize("task", TASKS)
def test_numbers_are_distilled_shown_and_exported(
  houses, capsys, tmp_path, task
):
  workdir, exported = tmp_path / "run", tmp_path / "exported"
  score, method, width = TASKS[task]
  call = (houses, f"--task={task}", *TEACHER, *STUDENT)
  run_killed_at_the_end(
    capsys, "distill", *call, f"--distillation={method}", workdir=workdir
  )
  results = check_results(workdir, "distill")
  assert results["task"] == task
  assert results["label_names"][:2] == ["price", "rooms"]
  for name, count in (("teacher", 1), ("student", 2), ("baseline", 2)):
    entry = results[name]
    for key in (f"test_{score}", "mae", "r2"):
      assert len(entry[key]) == count and np.isfinite(entry[key]).all()
    assert len(entry["per_output"]["rmse"]) == 2
  shown = (workdir / "report.html").read_text()
  assert "Student RMSE" in shown and "price" in shown and "R²" in shown
  assert ("Within 95 %, %" in shown) == (task == "gaussian_regression")
  assert "Left out" not in shown

  words = ["export", f"--from={workdir}", "--format=onnx,safetensors"]
  assert launch.main(["launch.py", *words, f"--workdir={exported}"]) == 0
  assert "same answers on all" in capsys.readouterr().out
  folder = exported / "student"
  name = houses.removeprefix("--dataset=")
  dataset = kdjax.data.load(name, label_kind="values")
  units = task_of(with_task(dataset, task)).units
  variables = load_variables(
    workdir / "student", read_note(workdir / "student")
  )
  one = jax.tree.map(lambda x: x[0], variables)
  images = dataset.test.images
  network = make_model("mlp(4)", classes=width)
  want = np.asarray(units.told(network.apply(one, images, train=False)))
  for kind in ("onnx", "safetensors"):
    told = load_export(folder, kind)(images)
    np.testing.assert_allclose(told, want, rtol=1e-5)
  assert 190_000 < told[:, 0].mean() < 210_000 and told.shape[1] == width
  assert "price" in (folder / "MODEL_CARD.md").read_text()


def test_a_cache_teaches_as_its_teacher_does(houses, tmp_path, bare_runs):
  """In float32 the cached answers are the live ones; so are the students."""
  call = [houses, "--task=regression"]
  method = "--distillation=logit_mse:0.5 + ce:0.5"
  live = run(*call, *TEACHER, *STUDENT, method, workdir=tmp_path / "live")
  cache = tmp_path / "cache"
  words = ["cache", *call, *TEACHER, "--cache_dtype=float32"]
  assert launch.main(["launch.py", *words, f"--workdir={cache}"]) == 0
  stored = run(
    *call, *STUDENT, method, f"--teacher_cache={cache}",
    workdir=tmp_path / "stored",
  )  # fmt: skip
  for score in ("test_rmse", "r2"):
    np.testing.assert_allclose(
      stored["student"][score], live["student"][score], rtol=1e-4
    )


def test_methods_are_compared_and_a_lower_error_is_better(houses, tmp_path):
  search = (
    "--search_rates=0.01", "--search_seeds=1", "--search_weights=1",
    "--search_smoothing=0.1",
  )  # fmt: skip
  call = ["compare", "logit_mse", "rkd", houses, "--task=regression"]
  results = run(*call, *TEACHER, *STUDENT, *search, workdir=tmp_path / "run")
  check_results(tmp_path / "run", "compare")
  for name in ("logit_mse", "rkd"):
    assert np.isfinite(results["methods"][name]["test_rmse"]).all()
  page = (tmp_path / "run" / "report.html").read_text()
  assert "errs less" in page


def test_distill_comes_to_what_the_command_does(houses, tmp_path, bare_runs):
  """The same start and order give the same networks, to rounding."""
  workdir = tmp_path / "run"
  method = "--distillation=gaussian_kl:1 + ce:1"
  flags = (houses, "--task=gaussian_regression", *TEACHER, *STUDENT, method)
  results = run(*flags, "--nocontrols", "--schedule=constant", workdir=workdir)
  teacher, students = (
    load_variables(workdir / name, read_note(workdir / name))
    for name in ("teacher", "student")
  )
  name = houses.removeprefix("--dataset=")
  dataset = kdjax.data.load(name, label_kind="values")
  train, test = (
    {"image": split.images, "label": split.labels}
    for split in (dataset.train, dataset.test)
  )
  task = kdjax.tasks.gaussian_regression(
    2, **kdjax.data.target_statistics(dataset)
  )
  networks = [
    kdjax.from_linen(make_model(f"mlp({width})", classes=4))
    for width in (4, 16)
  ]
  settings = results["experiment"]["student"]
  optimizer = getattr(optax, settings["optimizer"])(settings["learning_rate"])
  size, epochs = settings["batch_size"], settings["epochs"]
  steps = -(-len(train["label"]) // size)

  def in_the_runners_order(seed):
    plan = kdjax.data.batches(
      np.arange(len(train["label"])),
      size,
      seed=seed,
      start=0,
      stop=epochs * steps,
    )
    for index, weight in zip(plan.indices, plan.weights, strict=True):
      yield {k: x[index] for k, x in train.items()} | {"weight": weight}

  placements = [kdjax.jit(), kdjax.pmap(jax.devices()[:2])]
  for seed, placement in enumerate(placements):
    key = step_key(jnp.int32(seed), jnp.uint32(2**32 - 1), 0)
    start = networks[0].init(jax.random.split(key)[0], train["image"][:1])
    done = kdjax.distill(
      networks[0], kdjax.live_teacher(networks[1], teacher),
      in_the_runners_order(seed), method=results["objective"], task=task,
      optimizer=optimizer, steps=epochs * steps, key=jax.random.key(seed),
      variables=start, score_on=test, progress=False, placement=placement,
    )  # fmt: skip
    for got, want in zip(
      jax.tree.leaves(done.variables), jax.tree.leaves(students), strict=True
    ):
      np.testing.assert_allclose(got, want[seed], atol=1e-4)
    entry = results["student"]
    for score in ("rmse", "mae", "coverage_80"):
      assert done.metrics[score] == pytest.approx(entry[score][seed], rel=1e-3)
    assert done.metrics["negative_log_likelihood"] == pytest.approx(
      entry["test_negative_log_likelihood"][seed], rel=1e-3
    )
