"""Several processes: the settings, the job files, what one process makes of it."""

import os
import pathlib
import re
import subprocess

import jax
import numpy as np
import pytest
import yaml

import launch
from kdjax.core.errors import UserError
from kdjax.runner.config import options
from kdjax.runner.config.experiments import all_experiments
from kdjax.train.devices import placement, processes
from kdjax.train.fault_tolerance import checkpoints

ROOT = pathlib.Path(launch.__file__).parent
JOBS = ROOT / "experiments" / "cluster"


@pytest.mark.parametrize(
  ("arguments", "said"),
  [
    (["--process_count=2"], ["--process_count=2", "--multihost"]),
    (
      ["--multihost", "--process_count=2", "--process_index=2"],
      ["--process_index=2", "less than --process_count=2"],
    ),
    (["--multihost", "--process_count=0"], ["--process_count=0", ">= 1"]),
    (["--multihost", "--coordinator_address=box"], ["HOST:PORT"]),
    (["--multihost", "--coordinator_address=box:99999"], ["HOST:PORT"]),
    (["--multihost", "--heartbeat_timeout=1"], [">= 5"]),
    (["plot", "--multihost"], ["--multihost", "plot"]),
    (["list", "--multihost"], ["--multihost", "list"]),
  ],
)
def test_bad_settings(arguments, said, capsys):
  assert launch.main(["launch.py", *arguments]) == 2
  message = capsys.readouterr().err
  assert len(message.splitlines()) == 1
  assert all(part in message for part in said), message


def test_one_process_agrees_with_itself():
  assert processes.is_first()
  assert processes.largest(15) == 15
  assert processes.broadcast(None) is None
  value = ({"step": 3}, [np.array([-0.0])])
  assert processes.broadcast(value) is value


def test_leaves_are_formed_again():
  tree = {"key": jax.random.key(3), "x": np.arange(3, dtype=np.int8)}
  found = checkpoints.in_form_of(checkpoints.plain(tree), tree)
  assert found["key"] == tree["key"]
  assert found["x"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("count", [1, 2, 4])
def test_processes_have_all_of_a_batch_and_nothing_twice(count):
  batch = np.arange(3 * 8).reshape(3, 8)
  each = 4 // count
  parts = [
    placement.cut(batch, (p * each, p * each + each, 4), axis=1)
    for p in range(count)
  ]
  np.testing.assert_array_equal(np.concatenate(parts, axis=1), batch)


def test_choose_puts_the_devices_of_a_process_side_by_side(monkeypatch):
  class Device:
    platform = "cpu"

    def __init__(self, process_index, number):
      self.process_index, self.id = process_index, number

  scattered = [Device(number % 2, number) for number in range(4)]
  monkeypatch.setattr(jax, "devices", lambda: scattered)
  monkeypatch.setattr(jax, "process_count", lambda: 2)
  found = placement.choose("auto")
  assert [one.id for one in found] == [0, 2, 1, 3]
  monkeypatch.setattr(jax, "process_index", lambda: 1)
  assert placement.portion(found) == (2, 4, 4)
  del scattered[3]
  with pytest.raises(UserError, match="they have 2, 1"):
    placement.choose("auto")


SCRIPTS = [file for file in sorted(JOBS.iterdir()) if file.suffix != ".yaml"]


@pytest.mark.parametrize("file", SCRIPTS, ids=lambda file: file.name)
def test_scripts_can_be_read(file):
  subprocess.run(["bash", "-n", file], check=True)


def test_flags_of_the_job_files_exist():
  known = {one.flag for one in options.options()} | {"experiment"}
  known |= {f"no{flag}" for flag in known}
  foreign = {"wait", "filename", "zone", "worker", "command"}
  foreign |= {
    "job-name", "nodes", "ntasks-per-node", "gpus-per-task", "cpus-per-task",
    "time", "signal", "requeue", "open-mode", "output",
  }  # fmt: skip
  page = (ROOT / "docs" / "clusters.md").read_text()
  for name, text in [
    *((file.name, file.read_text()) for file in JOBS.iterdir()),
    ("clusters.md", re.sub(r"`s\w+ [^`]*`", "", page)),
  ]:
    used = set(re.findall(r"(?<![\w-])--([a-z][\w-]*)", text))
    assert used <= known | foreign, (name, used - known - foreign)
    experiments = re.findall(r"--experiment=([\w/]+)", text)
    assert set(experiments) <= set(all_experiments()), name


def test_the_job_set_is_one_run():
  found = yaml.safe_load((JOBS / "jobset.yaml").read_text())
  assert found["kind"] == "JobSet"
  (workers,) = found["spec"]["replicatedJobs"]
  job = workers["template"]["spec"]
  assert job["completions"] == job["parallelism"]
  assert job["backoffLimit"] == 0
  (container,) = job["template"]["spec"]["containers"]
  command = container["command"]
  assert f"--process_count={job['completions']}" in command
  name = f"{found['metadata']['name']}-{workers['name']}-0-0"
  port = container["ports"][0]["containerPort"]
  address = f"{name}.{found['metadata']['name']}:{port}"
  assert f"--coordinator_address={address}" in command
  (rule,) = job["podFailurePolicy"]["rules"]
  assert rule["onExitCodes"]["containerName"] == container["name"]
  # Those that a new start would only repeat; see kdjax/core/errors.py.
  assert rule["onExitCodes"]["values"] == [1, 2, 3, 4]


FAKE = """#!/bin/bash
echo "$@" >> {log}
n=$(wc -l < {log})
exit $(cut -d' ' -f"$n" <<< "{statuses}")
"""


@pytest.mark.parametrize(
  ("statuses", "starts", "status"),
  [("0", 1, 0), ("2", 1, 2), ("70 75 0", 3, 0), ("134 3", 2, 3)],
)
@pytest.mark.parametrize("script", ["gpu_box.sh", "slurm.sbatch"])
def test_scripts_begin_again_where_it_helps(
  tmp_path, script, statuses, starts, status
):
  """Python, srun and scontrol are stand-ins; a requeued job is run again."""
  log, requeued = tmp_path / "log", tmp_path / "requeued"
  fakes = {
    "python": FAKE.format(log=log, statuses=statuses),
    "srun": '#!/bin/bash\nshift\nexec "$@"\n',
    "sleep": "#!/bin/bash\n",
    "scontrol": f"#!/bin/bash\ntouch {requeued}\n",
  }
  for name, text in fakes.items():
    (tmp_path / name).write_text(text)
    (tmp_path / name).chmod(0o755)
  environment = os.environ | {
    "PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "7",
  }  # fmt: skip
  words = ["runs/x"] if script == "gpu_box.sh" else []
  ended = None
  while ended is None or requeued.exists():
    requeued.unlink(missing_ok=True)
    ended = subprocess.run(
      ["bash", JOBS / script, *words, "--seeds=2"],
      env=environment,
      capture_output=True,
    ).returncode
  calls = log.read_text().splitlines()
  assert ended == status
  assert len(calls) == starts and len(set(calls)) == 1
  assert "--seeds=2" in calls[0] and "--workdir=runs/" in calls[0]
