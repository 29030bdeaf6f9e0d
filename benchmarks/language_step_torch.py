"""The peer of `language_step` in transformers and PyTorch: the same step."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

import kdjax


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
  networks, arrays, tokens, states, *, compiled: bool, **settings
) -> dict[str, Callable[[], float]]:
  """Starts the trainings; a call is a step, and returns its loss.

  Args:
    tokens: (B, T).
    states: (B, T, D) the teacher's hidden states, or None where its forward pass is
      part of the step.
    compiled: whether there is one with `torch.compile`.
    **settings: rate, betas, decay, clip and weights of the losses.
  """
  teacher = loaded(networks[1], arrays[1]).eval().requires_grad_(False)
  ids = torch.from_numpy(tokens).long()
  if states is not None:
    states = torch.from_numpy(np.array(states))
  names = {"torch": False} | ({"compile": True} if compiled else {})
  return {
    name: _step(
      loaded(networks[0], arrays[0]),
      teacher,
      ids,
      states,
      is_compiled,
      **settings,
    )
    for name, is_compiled in names.items()
  }


def _step(
  student, teacher, ids, states, compiled: bool,
  *, rate, betas, decay, clip, weights,
):  # fmt: skip
  student.train()
  optimizer = torch.optim.AdamW(
    student.parameters(),
    lr=rate,
    betas=betas,
    weight_decay=decay,
    fused=True,
  )

  def loss() -> torch.Tensor:
    with torch.no_grad():
      if states is None:
        teacher_logits = teacher(ids, use_cache=False).logits[:, :-1]
      else:
        teacher_logits = teacher.lm_head(states[:, :-1])
      log_p = teacher_logits.flatten(0, 1).log_softmax(-1)
    logits = student(ids, use_cache=False).logits[:, :-1].flatten(0, 1)
    log_q = logits.log_softmax(-1)
    divergence = (log_p.exp() * (log_p - log_q)).sum(-1).mean()
    entropy = torch.nn.functional.nll_loss(log_q, ids[:, 1:].flatten())
    return weights[0] * divergence + weights[1] * entropy

  function = torch.compile(loss) if compiled else loss

  def run() -> float:
    optimizer.zero_grad()
    value = function()
    value.backward()
    torch.nn.utils.clip_grad_norm_(student.parameters(), clip)
    optimizer.step()
    return float(value.detach())

  return run
