"""`launch.py synthesise`: what it leaves behind, and what bad input says."""

import numpy as np
import pytest
from job_contract import check_results, run_killed_at_the_end

import launch
from kdjax.runner.jobs.synthesis import networks

TINY = (
  "--dataset=digits", "--student=mlp(8)", "--seeds=2", "--epochs=2",
  "--batch_size=64", "--images_per_class=2", "--inner_epochs=3",
  "--outer_steps=12", "--outer_batch_size=64", "--network_inits=2",
  "--fresh_networks=2", "--real_rates=0.1,0.3",
)  # fmt: skip


@pytest.mark.slow
def test_run_keeps_the_contract(tmp_path, quick_runs, capsys):
  folder = tmp_path / "run"
  text = run_killed_at_the_end(capsys, "synthesise", *TINY, workdir=folder)
  for said in ("learned images: compiling", "measuring what fresh networks"):
    assert said in text
  assert "20 learned images in 3 steps" in text and "Class centroids" in text
  found = check_results(folder, "synthesise")
  arms = {name: found[name] for name in ("teacher", "student", "baseline")}
  for name, one in (arms | found["controls"]).items():
    assert len(one["test_accuracy"]) == len(one["digest"]) == 2
    assert one["model"] == "mlp(8)" and one["parameters"] == 610
    assert one["test_examples"] == 355
    assert len(one["each"][0]) == (1 if name == "teacher" else 2)
    np.testing.assert_allclose(
      one["test_accuracy"], np.mean(one["each"], axis=1)
    )
    assert (one["tried"] is None) == (name == "student")
  assert [len(one["tried"]) for one in found["controls"].values()] == [6]
  assert "comparisons" in found
  with np.load(folder / "images.npz", allow_pickle=False) as saved:
    assert saved["images"].shape == (2, 1, 20, 8, 8, 1)
    assert saved["rates"].shape == (2, 3, 1) and (saved["rates"] > 0).all()
  page = (folder / "report.html").read_text()
  assert page.count("data:image/") == 3 and "Started" not in page
  assert (folder / "figures" / "images.png").is_file()


@pytest.mark.parametrize(
  ("flags", "words"),
  [
    (["now"], ["synthesise", "'now'"]),
    (["--inner_steps=2"], ["--inner_steps=2", "--images_per_class=3"]),
    (["--images_per_class=0"], ["--images_per_class=0", ">= 1"]),
    (["--images_per_class=900"], ["--images_per_class=900", "only"]),
    (["--outer_batch_size=9000"], ["--outer_batch_size=9000", "images"]),
    (["--initialisation=fix"], ["'fix'", "'fixed'"]),
    (["--real_rates=0.1,0"], ["--real_rates=0", "> 0"]),
    (["--first_rate=nan"], ["--first_rate"]),
    (["--labels=100"], ["--labels", "synthesise"]),
    (["--teacher=mlp(3)"], ["--teacher=mlp(3): synthesise has no such flag"]),
    (["--student=resnet8"], ["batch_stats", "resnet8"]),
    (["--student=lenett"], ["lenett", "lenet"]),
    (["--resident_megabytes=0"], ["--resident_megabytes=0"]),
  ],
)
def test_bad_input(flags, words, capsys, tmp_path):
  folder = tmp_path / "run"
  flags = ["--dataset=digits", f"--workdir={folder}", *flags]
  assert launch.main(["launch.py", "synthesise", *flags]) == 2
  text = capsys.readouterr().err
  assert all(word in text for word in words), text
  assert len(text.splitlines()) <= 3 and not folder.exists()


def test_figures_do_not_depend_on_who_else_is_measured(make_setup):
  setup = make_setup(fresh_networks=1)
  first, again = (networks.from_few(setup, "random") for _ in range(2))
  assert first.choice == again.choice
  assert (
    networks.entry(setup, first)["digest"]
    == (networks.entry(setup, again)["digest"])
  )
  # What is searched for scores images that nobody has learned from.
  assert not set(setup.search_train) & set(setup.search_test)
