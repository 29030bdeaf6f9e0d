"""The peer of `on_policy` in TRL and PyTorch: the same step."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import tokenizers
import torch
import transformers
import trl
from trl.experimental.gkd import GKDConfig, GKDTrainer

from benchmarks.language_step_torch import loaded


def versions() -> dict[str, str]:
  """Says what is compared with."""
  return {
    "torch": torch.__version__,
    "transformers": transformers.__version__,
    "trl": trl.__version__,
    "threads": torch.get_num_threads(),
  }


def step(
  networks, arrays, prompts: np.ndarray, *, new_tokens: int, rate: float
) -> tuple[Callable[[np.ndarray], float], Callable[[], float]]:
  """Starts the training.

  Returns:
    What says the loss on texts (B, P + N), and what takes a step.
  """
  student, teacher = (
    loaded(network, one) for network, one in zip(networks, arrays, strict=True)
  )
  # Nothing ends a text: all have as many tokens.
  student.generation_config.eos_token_id = None
  student.config.eos_token_id = None
  with tempfile.TemporaryDirectory() as folder:
    trainer = GKDTrainer(
      model=student,
      teacher_model=teacher,
      args=GKDConfig(
        output_dir=str(Path(folder)), lmbda=1.0, beta=0.5, temperature=1.0,
        max_new_tokens=new_tokens, learning_rate=rate, use_cpu=True,
        gradient_checkpointing=False, bf16=False, report_to=[],
      ),
      train_dataset=datasets.Dataset.from_dict({"messages": [[]]}),
      processing_class=_tokenizer(),
    )  # fmt: skip
  trainer.generation_config.eos_token_id = None
  trainer.current_gradient_accumulation_steps = 1
  optimizer = trainer.create_optimizer()
  ids = torch.from_numpy(prompts).long()

  def loss(texts: np.ndarray) -> float:
    labels = torch.from_numpy(np.array(texts)).long()
    inputs = {"input_ids": labels, "attention_mask": torch.ones_like(labels)}
    counts = labels.clone()
    counts[:, : ids.shape[1]] = -100
    with torch.no_grad():
      return float(
        trainer.compute_loss(student.eval(), inputs | {"labels": counts})
      )

  def run() -> float:
    optimizer.zero_grad()
    inputs = {"prompts": ids, "prompt_attention_mask": torch.ones_like(ids)}
    value = trainer.training_step(student, inputs)
    torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
    optimizer.step()
    return float(value)

  return loss, run


def _tokenizer() -> transformers.PreTrainedTokenizerFast:
  """One that the trainer asks for, and nothing else."""
  backend = tokenizers.Tokenizer(tokenizers.models.WordLevel({"<pad>": 0}))
  return transformers.PreTrainedTokenizerFast(
    tokenizer_object=backend, pad_token="<pad>", eos_token="<pad>"
  )
