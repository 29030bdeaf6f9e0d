"""`--scheme`: what bad input says, and what networks that learn together leave."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import launch
from kdjax.core.method import Inputs, Outputs
from kdjax.methods import make_objective
from kdjax.runner.config import Distillation, Experiment
from kdjax.runner.pipeline.values import (
  objective_text,
  read_values,
  with_scheme,
)

TINY = (
  "--dataset=digits", "--teacher=mlp(8)", "--student=mlp(8)",
  "--teacher_epochs=1", "--epochs=2", "--seeds=2", "--batch_size=64",
  "--teacher_batch_size=64", "--nocontrols", "--learning_rate=0.01",
  "--distillation=ce:1 + kd(temperature=1):1",
)  # fmt: skip

BAD = [
  (["--scheme=mutal"], ["scheme 'mutal'", "'mutual'"]),
  (["--scheme=mutual(peers=1)"], ["mutual(peers=1)", ">= 2"]),
  (["--scheme=mutual(pears=2)"], ["pears", "peers"]),
  (["--scheme=mutual("], ["mutual("]),
  (["--scheme=mean_teacher(decay=1)"], ["decay", "[0, 1)"]),
  (["--scheme=mean_teacher(decay=-0.5)"], ["decay", "[0, 1)"]),
  (["--scheme=codistillation(every=0)"], ["every", ">= 1"]),
  # eight devices, as the tests have them
  (["--scheme=codistillation(peers=3)"], ["3 peers", "8 devices"]),
  (["--scheme=mutual", "--distillation=simkd"], ["trained teacher's layers"]),
  (["compare", "kd", "--scheme=mutual"], ["--scheme=mutual", "compare"]),
  (["quantify", "--scheme=mutual"], ["--scheme=mutual", "quantify"]),
  (["cache", "--scheme=mutual"], ["--scheme=mutual", "cache"]),
  (["cache", "--teachers=2"], ["--teachers=2", "cache"]),
  (["soft_td", "--route=2"], ["--route=2", "soft_td"]),
  (["soft_td", "--transfer_dataset=noise_images"], ["--transfer_dataset"]),
  (["synthesise", "--generations=2"], ["--generations=2", "synthesise"]),
]


@pytest.mark.parametrize(
  ("arguments", "said"), BAD, ids=[" ".join(case[0]) for case in BAD]
)
def test_bad_input(arguments, said, capsys, tmp_path):
  workdir = tmp_path / "run"
  # Other commands do not take all of a run's flags.
  shared = TINY if arguments[0].startswith("--") else ()
  given = ["launch.py", *shared, f"--workdir={workdir}", *arguments]
  assert launch.main(given) == 2
  message = capsys.readouterr().err
  assert all(part in message for part in said), message
  assert len(message.strip().splitlines()) == 1
  assert not workdir.exists()


@pytest.mark.parametrize(
  ("given", "objective"),
  [
    ({"regime": "mutual"}, "ce:1.0 + kd:1.0"),
    ({"regime": "codistillation"}, "ce:1.0 + kd:after(0.1)"),
    ({"regime": "alone"}, "ce:0.1 + kd:0.9"),
    ({"regime": "mutual", "hard_weight": 0.5}, "ce:0.5 + kd:0.5"),
    # The published burn-in stays, whatever the labels' share is.
    (
      {"regime": "codistillation", "hard_weight": 0.25},
      "ce:0.25 + kd:after(0.1, 0.75)",
    ),
    (
      {"regime": "codistillation", "hard_weight": 0.25, "method_weight": 2.0},
      "ce:0.25 + kd:product(after(0.1, 0.75), 2.0)",
    ),
    ({"regime": "mutual", "distillation": "kd:2"}, "kd:2.0"),
  ],
)
def test_published_objectives_stand_where_none_is_named(given, objective):
  filled = with_scheme(Experiment(distillation=Distillation(**given)))
  assert objective_text(filled, read_values(filled).objective) == objective
  together = given["regime"] != "alone" and len(given) == 1
  assert filled.distillation.temperature == (1.0 if together else None)


@pytest.mark.slow
@pytest.mark.parametrize(
  ("regime", "roles"),
  [
    ("mutual(peers=3)", ["peer_0", "peer_1", "peer_2"]),
    ("mean_teacher(decay=0.9)", ["student", "twin"]),
    ("codistillation(peers=2, every=10)", ["peer_0", "peer_1"]),
  ],
)
def test_run_without_a_teacher(regime, roles, tmp_path, capsys):
  workdir = tmp_path / "run"
  given = [*TINY, f"--scheme={regime}", f"--workdir={workdir}"]
  assert launch.main(["launch.py", *given]) == 0
  results = json.loads((workdir / "results.json").read_text())
  # Nobody taught, so nobody was trained to.
  assert results["teacher"] is None
  assert not (workdir / "teacher").exists()
  student = results["student"]
  assert list(student["peers"]["test_accuracy"]) == roles
  measured = "twin" if "twin" in roles else "peer_0"
  assert student["peers"]["test_accuracy"][measured] == pytest.approx(
    student["test_accuracy"]
  )
  assert len(student["peers"]["ensemble_accuracy"]) == 2
  assert "learnt together" in capsys.readouterr().out
  assert (workdir / "report.html").exists()


@pytest.mark.slow
def test_reference_still_has_its_teacher(tmp_path, bare_runs):
  workdir = tmp_path / "run"
  given = [*TINY, "--scheme=mutual", "--reference=kd", f"--workdir={workdir}"]
  assert launch.main(["launch.py", *given]) == 0
  results = json.loads((workdir / "results.json").read_text())
  assert results["teacher"]["model"] == "mlp(8)"
  assert {one["control"] for one in results["comparisons"]} == {
    "baseline",
    "reference",
  }


@pytest.mark.slow
def test_a_sweep_scores_the_peers_of_the_best_cell(tmp_path, bare_runs):
  workdir = tmp_path / "run"
  given = [*TINY, "--scheme=mutual", f"--workdir={workdir}"]
  given += ["--learning_rate=0.0001,0.03"]
  assert launch.main(["launch.py", "sweep", *given]) == 0
  student = json.loads((workdir / "results.json").read_text())["student"]
  assert student["settings"]["learning_rate"] == pytest.approx(0.03)
  assert student["peers"]["test_accuracy"]["peer_0"] == pytest.approx(
    student["test_accuracy"]
  )


def test_the_labels_share_of_members_of_a_sweep_keeps_the_burn_in():
  given = {"regime": "codistillation", "hard_weight": (0.0, 0.5)}
  filled = with_scheme(Experiment(distillation=Distillation(**given)))
  assert filled.distillation.hard_weight == (0.0, 0.5)
  inputs = Inputs(
    Outputs(np.array([[2.0, 0.0]], np.float32), {}),
    Outputs(np.array([[0.0, 1.0]], np.float32), {}),
    np.array([0]),
    0,
  )

  def loss(share, step):
    method = make_objective(
      filled.distillation.distillation,
      hard_weight=share,
      temperature=1.0,
      steps=10,
    )
    params, state = method.init(jax.random.key(0), inputs)
    return method.apply(params, state, inputs._replace(step=step))[0]

  ce = np.log1p(np.exp(-2.0))
  p, log_q = np.array([1, np.e]) / (1 + np.e), np.array([-ce, -2.0 - ce])
  kd = (p * (np.log(p) - log_q)).sum()
  shares = jnp.array([0.0, 0.5])
  for step, expected in ((0, [0.0, ce / 2]), (5, [kd, (ce + kd) / 2])):
    found = jax.jit(jax.vmap(lambda share, step=step: loss(share, step)))(
      shares
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
