"""Sequences that hold several documents and mix none; their order and shares."""

import json

import numpy as np
import pytest
from small_tokenizers import EOS, characters

from kdjax.core.errors import UserError
from kdjax.data.text import Row, make_examples, open_text, pack, pad_out
from kdjax.data.text.examples import Example

LENGTH = 12


def documents(count=40, pad=EOS, longest=9):
  """Examples whose ends are written as the padding's token."""
  rng = np.random.default_rng(0)
  tokenizer = characters(bos=False, pad=pad)
  letters = list("abcdefgh")
  texts = [
    "".join(rng.choice(letters, rng.integers(1, longest))) for _ in range(count)
  ]
  rows = [Row({"text": text}, text) for text in texts]
  return make_examples(rows, tokenizer, LENGTH).examples, tokenizer.pad


def pair_of(tokens, counts):
  return np.asarray(tokens).tolist(), np.asarray(counts).tolist()


def check(packing):
  """Holds sequences against the documents that are in them."""
  examples, pad = documents()
  sequences = packing(examples, LENGTH, pad=pad)
  tokens, segments = sequences["tokens"], sequences["segments"]
  assert tokens.dtype == segments.dtype == np.int32
  assert sequences["mask"].dtype == sequences["counts"].dtype == bool
  assert {x.shape for x in sequences.values()} == {(len(tokens), LENGTH)}
  np.testing.assert_array_equal(sequences["mask"], segments > 0)
  assert (tokens[segments == 0] == pad).all()
  assert not sequences["counts"][segments == 0].any()
  # Segments are numbered from 1, one after the other, with padding behind.
  for row in segments:
    steps = np.diff(row[row > 0], prepend=0)
    assert set(steps) <= {0, 1} and steps[0] == 1
    assert (np.diff((row > 0).astype(int)) <= 0).all()
  # Every document is there once, whole, and with what counts of it.
  packed = [
    pair_of(row[place == one], count[place == one])
    for row, place, count in zip(
      tokens, segments, sequences["counts"], strict=True
    )
    for one in range(1, place.max() + 1)
  ]
  wanted = [pair_of(one.tokens, one.counts) for one in examples]
  assert sorted(packed) == sorted(wanted)
  # What counts is predicted from its own document.
  inner = segments[:, 1:] == segments[:, :-1]
  assert not (sequences["counts"][:, 1:] & ~inner).any()
  assert not sequences["counts"][:, 0].any()


def test_packing_mixes_no_documents():
  check(pack)


def test_padding_mixes_no_documents():
  check(pad_out)


def in_one_segment(*arguments, **settings):
  sequences = pack(*arguments, **settings)
  return sequences | {"segments": (sequences["segments"] > 0).astype(np.int32)}


def from_zero(*arguments, **settings):
  sequences = pack(*arguments, **settings)
  return sequences | {"segments": np.maximum(sequences["segments"] - 1, 0)}


def first_tokens_too(*arguments, **settings):
  sequences = pack(*arguments, **settings)
  return sequences | {"counts": sequences["mask"]}


def masked_by_id(*arguments, **settings):
  """Takes the ends of documents for padding."""
  sequences = pack(*arguments, **settings)
  return sequences | {"mask": sequences["tokens"] != settings["pad"]}


def learned_unless_padding_id(*arguments, **settings):
  sequences = pack(*arguments, **settings)
  return sequences | {
    "counts": sequences["counts"] & (sequences["tokens"] != settings["pad"])
  }


def concatenated(examples, length, *, pad):
  """As GPT-2's data: one stream, cut anywhere."""
  tokens = np.concatenate([one.tokens for one in examples])
  counts = np.concatenate([one.counts for one in examples])
  room = -len(tokens) % length
  mask = np.pad(np.ones(len(tokens), bool), (0, room)).reshape(-1, length)
  return {
    "tokens": np.pad(tokens, (0, room), constant_values=pad).reshape(
      -1, length
    ),
    "counts": np.pad(counts, (0, room)).reshape(-1, length),
    "mask": mask,
    "segments": mask.astype(np.int32),
  }


@pytest.mark.parametrize(
  "variant",
  [
    in_one_segment,
    from_zero,
    first_tokens_too,
    masked_by_id,
    learned_unless_padding_id,
    concatenated,
  ],
)
def test_wrong_variants_are_rejected(variant):
  with pytest.raises(AssertionError):
    check(variant)


def test_another_document_changes_nothing_in_its_neighbours():
  examples, pad = documents()
  before = pack(examples, LENGTH, pad=pad)
  changed = examples[0]._replace(tokens=examples[0].tokens + 1)
  after = pack([changed, *examples[1:]], LENGTH, pad=pad)
  different = before["tokens"] != after["tokens"]
  assert different.sum() == len(changed.tokens)
  row = different.any(axis=1).argmax()
  assert len(np.unique(before["segments"][row][different[row]])) == 1
  for name in ("mask", "segments", "counts"):
    np.testing.assert_array_equal(before[name], after[name])


@pytest.mark.parametrize(
  ("lengths", "length"),
  [
    # As WordNet's glosses: some ten words each.
    (np.random.default_rng(0).integers(8, 40, 3000), 512),
    (np.random.default_rng(1).integers(8, 200, 3000), 512),
    (np.random.default_rng(2).geometric(0.02, 3000).clip(2, 512), 512),
    (np.full(1000, 25), 128),
  ],
)
def test_nine_tenths_of_the_positions_are_used(lengths, length):
  examples = [
    Example(np.ones(size, np.int32), np.arange(size) > 0, place)
    for place, size in enumerate(lengths)
  ]
  sequences = pack(examples, length, pad=0)
  assert sequences["mask"].sum() == lengths.sum()
  assert sequences["mask"].mean() >= 0.9


def test_one_order_of_packing_for_one_seed():
  examples, pad = documents()
  one, same = (pack(examples, LENGTH, pad=pad) for _ in range(2))
  other = pack(examples, LENGTH, pad=pad, seed=1)
  for name in one:
    np.testing.assert_array_equal(one[name], same[name])
  assert not np.array_equal(one["tokens"], other["tokens"])


def as_lists(batches):
  return [
    {name: np.asarray(x).tolist() for name, x in b.items()} for b in batches
  ]


@pytest.fixture(scope="module")
def sequences():
  examples, pad = documents()
  return pack(examples, LENGTH, pad=pad)


def test_epochs_show_every_sequence_once_in_new_orders(sequences):
  batches = open_text(sequences, 4, key=7)
  first, second = as_lists(batches), as_lists(batches)
  count = len(sequences["tokens"])
  assert batches.steps == -(-count // 4)
  for epoch in (first, second):
    index = np.concatenate([batch["index"] for batch in epoch])
    weight = np.concatenate([batch["weight"] for batch in epoch])
    assert sorted(index[weight > 0]) == list(range(count))
    for batch in epoch:
      np.testing.assert_array_equal(
        batch["tokens"], sequences["tokens"][batch["index"]]
      )
  assert first != second
  assert as_lists(open_text(sequences, 4, key=7)) == first
  assert as_lists(open_text(sequences, 4, key=8)) != first
  in_order = as_lists(open_text(sequences, 4))
  assert in_order[0]["index"] == [0, 1, 2, 3]


@pytest.mark.parametrize("done", [0, 1, 3])
def test_goes_on_where_it_stopped(sequences, done):
  batches = open_text(sequences, 4, key=7)
  list(batches)
  epoch = iter(batches)
  for _ in range(done):
    next(epoch)
  state = json.loads(json.dumps(batches.get_state()))
  rest = as_lists(epoch) + as_lists(batches)
  again = open_text(sequences, 4, key=7)
  again.set_state(state)
  assert as_lists(again) + as_lists(again) == rest


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_share_the_batches_of_one(sequences, processes):
  whole = as_lists(open_text(sequences, 4, key=7))
  shares = [
    as_lists(open_text(sequences, 4, key=7, process=one, processes=processes))
    for one in range(processes)
  ]
  for step, batch in enumerate(whole):
    for name, values in batch.items():
      joined = [x for share in shares for x in share[step][name]]
      assert joined == values


@pytest.mark.parametrize(
  ("size", "process", "processes"),
  [(4, 0, 3), (4, 2, 2), (4, -1, 2), (4, 0, 0)],
)
def test_shares_that_are_refused(sequences, size, process, processes):
  with pytest.raises(UserError, match=f"a batch of {size} sequences"):
    open_text(sequences, size, process=process, processes=processes)


@pytest.mark.parametrize("way", [pack, pad_out])
def test_examples_that_are_too_long_are_refused(way):
  one = Example(np.ones(5, np.int32), np.ones(5, bool), 0)
  with pytest.raises(UserError, match="5 tokens, more than a sequence of 4"):
    way([one], 4, pad=0)
