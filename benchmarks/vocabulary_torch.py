"""Peers of `kdjax.losses.chunked` in PyTorch: whole logits, and in chunks.

The chunks follow Liger-Kernel's linear distillation losses: as many tokens at a
time as make a chunk's logits about as large as the hidden states, the gradients
by autograd chunk by chunk, added up in the head's own precision.
"""

import functools
import math

import torch


def forward_kl(student, teacher):
  """Returns the sum over rows of KL(p || q) of logits, T = 1.

  Args:
    student: (N, V).
    teacher: (N, V).
  """
  log_q, log_p = (x.log_softmax(-1) for x in (student, teacher))
  return (log_p.exp() * (log_p - log_q)).sum()


def jensen_shannon(student, teacher):
  """Returns the sum over rows of the Jensen-Shannon divergence, T = 1.

  Args:
    student: (N, V).
    teacher: (N, V).
  """
  log_q, log_p = (x.log_softmax(-1) for x in (student, teacher))
  log_m = torch.logaddexp(log_p, log_q) - math.log(2)
  to_m = (x.exp() * (x - log_m) for x in (log_p, log_q))
  return sum(to_m).sum() / 2


def whole(divergence, hidden, head, teacher_hidden, teacher_head):
  """Returns the mean over tokens and its gradients, from all the logits.

  Args:
    hidden: (N, d).
    head: (d, V).
    teacher_hidden: (N, d).
    teacher_head: (d, V).

  Returns:
    (), (N, d), (d, V).
  """
  hidden, head = (x.detach().requires_grad_() for x in (hidden, head))
  with torch.no_grad():
    teacher = teacher_hidden @ teacher_head
  loss = divergence(hidden @ head, teacher) / len(hidden)
  return loss.detach(), *torch.autograd.grad(loss, (hidden, head))


def in_chunks(divergence, hidden, head, teacher_hidden, teacher_head):
  """Returns what `whole` does, a chunk of tokens at a time.

  Args:
    hidden: (N, d).
    head: (d, V).
    teacher_hidden: (N, d).
    teacher_head: (d, V).

  Returns:
    (), (N, d), (d, V).
  """
  width, classes = head.shape
  parts = -(-len(hidden) // -(-classes // width))
  chunk = 1 << (parts - 1).bit_length()
  total, of_hidden, of_head = 0.0, [], torch.zeros_like(head)
  for start in range(0, len(hidden), chunk):
    rows = slice(start, start + chunk)
    value, hidden_gradient, head_gradient = whole(
      divergence, hidden[rows], head, teacher_hidden[rows], teacher_head
    )
    share = len(hidden[rows]) / len(hidden)
    total += value * share
    of_hidden.append(hidden_gradient * share)
    of_head.add_(head_gradient, alpha=share)
  return total, torch.cat(of_hidden), of_head


def arms(name, arrays):
  """Makes what is timed."""
  tensors = [torch.from_numpy(x) for x in arrays]
  divergence = globals()[name]
  compiled = torch.compile(functools.partial(whole, divergence))
  return {
    "torch": functools.partial(whole, divergence, *tensors),
    "torch.compile": functools.partial(compiled, *tensors),
    "chunks in torch": functools.partial(in_chunks, divergence, *tensors),
  }
