"""`distill` in a process that is killed goes on as if it never had been."""

import json
import os
import random
import signal
import subprocess
import sys

import pytest

STEPS = 24
# Dropout, a regressor and an optimiser with memory; four steps an epoch, the last
# of them ragged, and a checkpoint every third.
PROGRAM = """
import hashlib, sys
import grain, jax, numpy as np, optax
import kdjax
from kdjax.models import make_model

def train(folder, told):
  random = np.random.default_rng(0)
  rows = [
    {"image": random.normal(size=(4, 4, 1)).astype(np.float32), "label": i % 3}
    for i in range(22)
  ]
  data = grain.MapDataset.source(rows).shuffle(seed=1).batch(6)
  student, big = (
    kdjax.from_linen(make_model(text, classes=3))
    for text in ("mlp(5, dropout=0.3)", "mlp(7)")
  )
  known = big.init(jax.random.key(9), rows[0]["image"][None])
  method = "kd:0.5 + ce:0.5 + fitnets(student_tap='stage_0', teacher_tap='stage_0')"
  with kdjax.Checkpoints(folder, every_steps=3) as checkpoints:
    done = kdjax.distill(
      student, kdjax.live_teacher(big, known), data, method=method,
      task=kdjax.tasks.classification(3), optimizer=optax.adam(1e-2), epochs=6,
      key=jax.random.key(0), checkpoints=checkpoints, callbacks=[told],
      log_every=1, progress=False)
  digest = hashlib.sha256()
  for x in jax.tree.leaves(done.variables):
    digest.update(np.asarray(x).tobytes())
  return {"digest": digest.hexdigest(), "history": done.history}
"""
CHILD = f"""{PROGRAM}
import json
told = lambda event: print(event.step, flush=True)
print(json.dumps(train(sys.argv[1], told)))
"""


def start(folder):
  return subprocess.Popen(
    [sys.executable, "-c", CHILD, str(folder)],
    stdout=subprocess.PIPE,
    text=True,
  )


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_killed_at_any_step_and_called_again_is_the_same(tmp_path, seed):
  names = {}
  exec(PROGRAM, names)
  whole = names["train"](tmp_path / "whole", lambda event: None)
  assert whole["history"][-1]["step"] == STEPS
  # Each comes some steps behind the one before: a checkpoint may lie between.
  moments = sorted(random.Random(seed).sample(range(1, STEPS), 3))
  for moment in moments:
    with start(tmp_path / "killed") as child:
      for line in child.stdout:
        if int(line) >= moment:
          os.kill(child.pid, signal.SIGKILL)
          break
      child.stdout.read()
    assert child.returncode == -signal.SIGKILL
  with start(tmp_path / "killed") as child:
    *steps, last = child.stdout.read().splitlines()
  assert json.loads(last) == whole
  # It did not begin anew.
  assert int(steps[0]) > moments[-1] - 4 and int(steps[-1]) == STEPS
