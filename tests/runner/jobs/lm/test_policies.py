"""`--policy`: how it is read, and which prompts rows become."""

import dataclasses

import numpy as np
import pytest
from small_tokenizers import characters

from kdjax.core.errors import UserError
from kdjax.data.text import Row
from kdjax.runner.config import Continuation, Experiment, Language
from kdjax.runner.jobs.lm.policies import (
  Policy,
  read_policy,
  with_objective,
  with_prompts,
)
from kdjax.runner.pipeline.texts import Part, Texts

TOKENIZER = characters()
END = TOKENIZER.eos[0]


def settings_of(policy="student", length=12, new=5, **settings):
  """The settings of a policy."""
  return Experiment(
    language=Language(policy=policy, sequence_length=length, **settings),
    continuation=Continuation(max_new_tokens=new),
  )


@pytest.mark.parametrize(
  ("written", "policy"),
  [
    ("off", Policy("off", 0.0)),
    ("teacher", Policy("teacher", 0.0)),
    ("student", Policy("student", 1.0)),
    ("mixed", Policy("mixed", 0.5)),
    ("mixed(student=0.25)", Policy("mixed", 0.25)),
    ("mixed(0.75)", Policy("mixed", 0.75)),
    ("student(teacher=0.2)", Policy("student", 1.0, 0.2)),
    (
      "adaptive(capacity=9)",
      Policy(
        "adaptive",
        adaptive={"capacity": 9, "tolerance": 0.1, "rise": 0.1},
      ),
    ),
    ("speculative", Policy("speculative", 1.0, top_k=25)),
    ("speculative(4)", Policy("speculative", 1.0, top_k=4)),
    ("mixed(0.25, teacher=0.2)", Policy("mixed", 0.25, 0.2)),
  ],
)
def test_policies(written, policy):
  assert read_policy(settings_of(written)) == policy


@pytest.mark.parametrize(
  ("method", "written", "policy"),
  [
    ("minillm", "off", Policy("student", 1.0, 0.2)),
    ("minillm(normalize=False):2", "off", Policy("student", 1.0, 0.2)),
    ("minillm", "student", Policy("student", 1.0)),
    ("policy_gradient", "off", Policy("student", 1.0)),
    ("minilm", "off", Policy("off")),
    ("skew_reverse_kl", "off", Policy("off")),
    ("distillm", "student", Policy("student", 1.0)),
    (
      "distillm",
      "off",
      Policy(
        "adaptive",
        adaptive={"capacity": 1000, "tolerance": 0.1, "rise": 0.1},
      ),
    ),
  ],
)
def test_a_method_of_drawn_tokens_brings_its_policy(method, written, policy):
  assert read_policy(objective(settings_of(written), method)) == policy


def objective(experiment, text):
  """The settings with a --distillation."""
  distillation = dataclasses.replace(experiment.distillation, distillation=text)
  return dataclasses.replace(experiment, distillation=distillation)


@pytest.mark.parametrize(
  ("policy", "text", "expected"),
  [
    ("off", None, "forward_kl:0.9 + ce:0.1"),
    ("off", "tvd", "tvd"),
    ("student", None, "generalized_jsd(beta=0.5):1"),
    ("mixed", None, "generalized_jsd(beta=0.5):1"),
    # Alone it has no labels beside it.
    ("student", "reverse_kl", "reverse_kl:1"),
    ("student", "tvd:2", "tvd:2"),
    ("student", "minillm", "minillm"),
    ("adaptive", "distillm", "distillm"),
    # The files' answers are labels.
    ("mixed", "tvd:0.9 + ce:0.1", "tvd:0.9 + ce:0.1"),
  ],
)
def test_objectives(policy, text, expected):
  experiment = settings_of(policy)
  if text:
    experiment = objective(experiment, text)
  experiment = with_objective(experiment, read_policy(experiment))
  assert experiment.distillation.distillation == expected


def prompts_of(rows, **settings):
  """The training sequences of rows, and how they are described."""
  experiment = settings_of(**settings)
  rows = [Row(values, f"row {i}") for i, values in enumerate(rows)]
  part = Part(rows, None, {})
  texts = with_prompts(
    experiment, read_policy(experiment), TOKENIZER, Texts({"train": part}, {})
  )
  return texts.parts["train"]


def answers_of(part):
  """(prompt, answer) of each sequence, as texts."""
  pairs = []
  for tokens, mask, counts in zip(
    *(part.sequences[name] for name in ("tokens", "mask", "counts")),
    strict=True,
  ):
    first = int(np.argmax(counts))
    assert counts[first : mask.sum()].all() and not counts[mask.sum() :].any()
    pairs.append(
      tuple(
        TOKENIZER.decode(x) for x in (tokens[:first], tokens[mask & counts])
      )
    )
  return pairs


def test_prompts_with_their_answers():
  rows = [
    {"prompt": "a cat", "completion": " sat"},
    {"prompt": "the", "completion": " dog ran until"},
    # A prompt of 12 - 5 = 7 tokens at most.
    {"prompt": "the mat and", "completion": "x"},
  ]
  part = prompts_of(rows)
  # The beginning's token, five of a prompt, and five behind it.
  assert part.sequences["tokens"].shape == (2, 11)
  assert answers_of(part) == [("a cat", " sat"), ("the", " dog ra")]
  tokens, counts = (part.sequences[name][0] for name in ("tokens", "counts"))
  assert tokens[counts][-1] == END
  assert part.examples.truncated == ["row 1"]
  assert part.examples.unanswered == ["row 2"]
  assert part.examples.learned == 5 + 7
  assert part.examples.bytes == len(" sat") + len(" dog ra")


def test_windows_of_documents():
  part = prompts_of([{"text": "the cat sat on the mat"}], prompt_tokens=3)
  # Windows of eight share a token, the first begins with that of a beginning; of
  # each three are the prompt, and so is all that the fourth has.
  assert answers_of(part) == [
    ("th", "e cat"), ("t s", "at on"), ("n t", "he ma"),
  ]  # fmt: skip


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"new": 12}, "--max_new_tokens=12 leaves no room"),
    ({"new": 11}, "within"),
  ],
)
def test_no_room(settings, message):
  rows = [{"prompt": "a cat", "completion": " sat"}]
  with pytest.raises(UserError, match=message):
    prompts_of(rows, **settings)


def test_other_policies_leave_the_texts_as_they_are():
  rows = [{"prompt": "a cat", "completion": " sat"}]
  part = prompts_of(rows, policy="teacher")
  assert part.sequences == {} and part.rows[0].values == rows[0]
