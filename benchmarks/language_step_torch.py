"""The peer of `language_step` in transformers and PyTorch: the same step."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

import kdjax
from benchmarks import language_step as ours


def versions() -> dict[str, str]:
  """Says what is compared with."""
  return {
    "torch": torch.__version__,
    "transformers": transformers.__version__,
    "threads": torch.get_num_threads(),
  }


def loaded(network: Any, variables: Any) -> Any:
  """The network of transformers with the same weights."""
  with tempfile.TemporaryDirectory() as folder:
    kdjax.pretrained.save(Path(folder), network, variables)
    return transformers.AutoModelForCausalLM.from_pretrained(
      folder, dtype=torch.float32
    )


def steps(
  networks, arrays, given, compiled: bool
) -> dict[str, Callable[[], float]]:
  """Starts the trainings; a call is a step, and returns its loss.

  Args:
    given: tokens (B, T), and the teacher's hidden states (B, T, D), or None where
      its forward pass is part of the step.
    compiled: whether there is one with `torch.compile`.
  """
  teacher = loaded(networks[1], arrays[1]).eval().requires_grad_(False)
  ids = torch.from_numpy(given[0]).long()
  states = None if given[1] is None else torch.from_numpy(np.array(given[1]))
  names = {"torch": False} | ({"compile": True} if compiled else {})
  return {
    name: _step(loaded(networks[0], arrays[0]), teacher, ids, states, make)
    for name, make in names.items()
  }


def _step(student, teacher, ids, states, compiled: bool):
  student.train()
  optimizer = torch.optim.AdamW(
    student.parameters(),
    lr=ours.RATE,
    betas=ours.BETAS,
    weight_decay=ours.DECAY,
    fused=True,
  )

  def loss() -> torch.Tensor:
    with torch.no_grad():
      if states is None:
        known = teacher(ids, use_cache=False).logits[:, :-1]
      else:
        known = teacher.lm_head(states[:, :-1])
      known = known.flatten(0, 1).log_softmax(-1)
    logits = student(ids, use_cache=False).logits[:, :-1].flatten(0, 1)
    found = logits.log_softmax(-1)
    divergence = (known.exp() * (known - found)).sum(-1).mean()
    entropy = torch.nn.functional.nll_loss(found, ids[:, 1:].flatten())
    return ours.WEIGHTS[0] * divergence + ours.WEIGHTS[1] * entropy

  function = torch.compile(loss) if compiled else loss

  def run() -> float:
    optimizer.zero_grad()
    value = function()
    value.backward()
    torch.nn.utils.clip_grad_norm_(student.parameters(), ours.CLIP)
    optimizer.step()
    return float(value.detach())

  return run
