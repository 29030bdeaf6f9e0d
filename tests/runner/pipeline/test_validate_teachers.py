"""Regimes from the launcher: what bad input says, what a run leaves behind."""

import json

import jax
import numpy as np
import pytest

import launch
from kdjax.core import storage
from kdjax.runner.config import Experiment, Student, Teacher, Teaching
from kdjax.runner.pipeline import teachers
from kdjax.runner.pipeline.validate_teachers import (
  has_stages,
  is_plain,
  stage_models,
)
from kdjax.runner.pipeline.values import read_values

pytestmark = pytest.mark.usefixtures("quick_runs")

TINY = (
  "--dataset=digits", "--teacher=mlp(16)", "--student=mlp(8)",
  "--teacher_epochs=3", "--epochs=2", "--seeds=2", "--batch_size=64",
  "--teacher_batch_size=64", "--nocontrols", "--evaluate_every=9",
)  # fmt: skip

BAD = [
  (["--teachers=0"], ["--teachers=0", ">= 1"]),
  (["--pool=mean"], ["'mean'", "logits"]),
  (["--teachers=2", "--teacher_weights=1,2,3"], ["3 weights for 2"]),
  (["--teachers=2", "--teacher_weights=1,-1"], ["-1", ">= 0"]),
  (["--teachers=2", "--teacher_weights=0,0"], ["not all 0"]),
  (["--teachers=2", "--teacher_from=a,b"], ["leave one of them out"]),
  (["--teachers=2", "--route=2"], ["--teachers and --route"]),
  (["--teacher_from=nowhere,elsewhere"], ["nowhere"]),
  (["--specialists=1"], ["--specialists=1", "10 classes"]),
  (["--specialists=11"], ["--specialists=11", "10 classes"]),
  (["--specialists=2", "--distillation=fitnets"], ["looks inside"]),
  (["--specialists=2", "--augment=shift(1)"], ["--augment"]),
  (["--chain=mpl(8)"], ["model 'mpl'", "'mlp'"]),
  (["--chain=mlp(8),,mlp(9)"], ["commas"]),
  (["--chain=mlp(0)"], ["mlp(0)"]),
  (["--chain=mlp(8)", "--route=2"], ["do not go together"]),
  (["--generations=0"], ["--generations=0", ">= 1"]),
  (["--route=4"], ["--route=4", "--teacher_epochs=3"]),
  (["--route=2", "--teacher_from=x"], ["--teacher_from"]),
  (["--scheme=mutual", "--teachers=2"], ["--teachers", "--scheme=mutual"]),
  (["quantify", "--teachers=2"], ["--teachers=2"]),
  (["compare", "kd", "--route=2"], ["--route=2"]),
]


def flags(arguments):
  """TINY, without how a teacher is trained where one is there already."""
  has_teacher = any(word.startswith("--teacher_from") for word in arguments)
  return [x for x in TINY if not (has_teacher and x.startswith("--teacher_"))]


@pytest.mark.parametrize(
  ("arguments", "said"), BAD, ids=[" ".join(case[0]) for case in BAD]
)
def test_bad_input(arguments, said, capsys, tmp_path):
  workdir = tmp_path / "run"
  argv = ["launch.py", *flags(arguments), f"--workdir={workdir}", *arguments]
  assert launch.main(argv) == 2
  message = capsys.readouterr().err
  assert len(message.strip().splitlines()) == 1
  assert all(part in message for part in said), message
  assert not workdir.exists()


@pytest.mark.parametrize(
  ("teaching", "expected"),
  [
    (Teaching(), []),
    (Teaching(chain="mlp(9), mlp(8, 7)"), ["mlp(9)", "mlp(8, 7)"]),
    (Teaching(generations=1), []),
    (Teaching(generations=3), ["mlp(4)", "mlp(4)"]),
    (Teaching(chain="mlp(9)", generations=2), ["mlp(9)", "mlp(4)"]),
  ],
)
def test_stages_stand_in_their_order(teaching, expected):
  experiment = Experiment(teaching=teaching, student=Student(model="mlp(4)"))
  stages = stage_models(experiment, read_values(experiment))
  assert [*map(str, stages.values())] == expected
  assert has_stages(teaching) == bool(expected)


@pytest.mark.parametrize(
  ("teaching", "teacher", "plain"),
  [
    (Teaching(), Teacher(), True),
    (Teaching(), Teacher(teacher_from="a"), True),
    (Teaching(), Teacher(teacher_from="a,b"), False),
    (Teaching(teachers=2), Teacher(), False),
    (Teaching(specialists=2), Teacher(), False),
    (Teaching(route=2), Teacher(), False),
    (Teaching(generations=2), Teacher(), False),
  ],
)
def test_what_is_plain(teaching, teacher, plain):
  experiment = Experiment(teaching=teaching, teacher=teacher)
  assert is_plain(experiment, read_values(experiment)) == plain


@pytest.mark.parametrize(
  ("route", "epochs", "expected"),
  [(1, 5, [5]), (4, 8, [2, 4, 6, 8]), (3, 3, [1, 2, 3]), (0, 5, [])],
)
def test_moments_of_a_route(route, epochs, expected):
  assert teachers._anchors(route, epochs) == expected


def run(workdir, *arguments):
  """Runs the launcher and returns results.json."""
  argv = ["launch.py", *flags(arguments), f"--workdir={workdir}", *arguments]
  assert launch.main(argv) == 0
  return json.loads((workdir / "results.json").read_text())


def digests(workdir, names):
  """The digests of saved networks, read and checked against their files."""
  notes = [storage.read_note(workdir / name) for name in names]
  for name, note in zip(names, notes, strict=True):
    storage.load_variables(workdir / name, note)
  return [note["digest"] for note in notes]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["kd", "fitnets"])
def test_an_ensemble_teaches_and_can_be_used_again(method, tmp_path, bare_runs):
  arguments = (f"--distillation={method}", "--reference=kd(temperature=4)")
  first = run(
    tmp_path / "a", "--teachers=2", "--teacher_weights=0.7,0.3", *arguments
  )
  assert len(first["teacher"]["test_accuracy"]) == 2
  assert len(first["teacher"]["ensemble"]["test_accuracy"]) == 1
  folders = [f"{tmp_path / 'a' / name}" for name in ("teacher", "teacher_1")]
  assert len(set(digests(tmp_path / "a", ("teacher", "teacher_1")))) == 2
  again = run(
    tmp_path / "b",
    f"--teacher_from={','.join(folders)}",
    "--teacher_weights=0.7,0.3",
    *arguments,
  )
  # Alike but for rounding: they are of different programs.
  assert again["student"]["negative_log_likelihood"] == pytest.approx(
    first["student"]["negative_log_likelihood"]
  )
  plain = run(tmp_path / "c", f"--teacher_from={folders[0]}", *arguments)
  reference = [
    one["controls"]["reference"]["negative_log_likelihood"]
    for one in (first, plain)
  ]
  assert reference[0] == pytest.approx(reference[1])
  assert plain["student"]["negative_log_likelihood"] != pytest.approx(
    first["student"]["negative_log_likelihood"]
  )


@pytest.mark.slow
def test_teachers_of_two_architectures(tmp_path, bare_runs):
  run(tmp_path / "a", "--teacher=mlp(16)")
  run(tmp_path / "b", "--teacher=mlp(12, 10)")
  results = run(
    tmp_path / "c",
    f"--teacher_from={tmp_path / 'a'},{tmp_path / 'b'}",
    "--distillation=fitnets",
  )
  assert len(results["teacher"]["test_accuracy"]) == 2


@pytest.mark.slow
def test_a_chain_leaves_every_network(tmp_path, bare_runs):
  results = run(tmp_path / "a", "--chain=mlp(12)", "--generations=2")
  names = ("assistant_0", "generation_1")
  assert tuple(one["name"] for one in results["chain"]) == names
  assert [one["model"] for one in results["chain"]] == ["mlp(12)", "mlp(8)"]
  assert len(set(digests(tmp_path / "a", ("teacher", *names)))) == 3
  # Each one learned from the one before: with the last stage as its teacher,
  # a plain run trains the same students.
  plain = run(
    tmp_path / "b", f"--teacher_from={tmp_path / 'a' / 'generation_1'}"
  )
  assert plain["student"]["digest"] == results["student"]["digest"]


@pytest.mark.slow
def test_one_generation_is_plain_distillation(tmp_path, bare_runs):
  plain = run(tmp_path / "a")
  born = run(tmp_path / "b", "--generations=1")
  assert born["student"]["digest"] == plain["student"]["digest"]
  assert "chain" not in born


@pytest.mark.slow
def test_a_route_ends_at_the_teacher(tmp_path, bare_runs):
  plain = run(tmp_path / "a")
  results = run(tmp_path / "b", "--route=3")
  route = [one["test_accuracy"] for one in results["teacher"]["route"]]
  assert len(route) == 3
  assert route[-1] == results["teacher"]["test_accuracy"]
  names = ("teacher_epoch_1", "teacher_epoch_2", "teacher")
  saved = digests(tmp_path / "b", names)
  assert len(set(saved)) == 3
  assert digests(tmp_path / "a", ("teacher",)) == saved[-1:]
  assert plain["student"]["digest"] != results["student"]["digest"]


@pytest.mark.slow
def test_specialists_answer_with_the_teacher(tmp_path, bare_runs):
  results = run(tmp_path / "a", "--specialists=2", "--specialist_epochs=1")
  subsets = results["teacher"]["ensemble"]["subsets"]
  assert sorted(sum(subsets, [])) == list(range(10))
  for number, subset in enumerate(subsets):
    note = storage.read_note(tmp_path / "a" / f"specialist_{number}")
    loaded = storage.load_variables(
      tmp_path / "a" / f"specialist_{number}", note
    )
    width = np.shape(jax.tree.leaves(loaded["params"]["head"]["bias"])[0])
    assert width == (len(subset) + 1,)


@pytest.mark.slow
def test_hint_stage_then_distillation(tmp_path, bare_runs):
  """The hint alone moves the student first; labels and answers come after."""
  run(tmp_path / "a", "--distillation=fitnets", "--epochs=5")
  rows = [
    json.loads(line)
    for line in (tmp_path / "a" / "metrics.jsonl").read_text().splitlines()
    if json.loads(line)["network"] == "student"
  ]
  hint, after = rows[0], rows[1]
  np.testing.assert_allclose(
    hint["loss"], 100 * np.array(hint["fitnets"]), rtol=1e-4
  )
  np.testing.assert_allclose(
    after["loss"],
    0.1 * np.array(after["ce"]) + 0.9 * np.array(after["kd"]),
    rtol=1e-4,
  )
