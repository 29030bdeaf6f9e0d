"""Asking an endpoint about many texts: several at once, the same ones only once."""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import numpy as np

from kdjax.core.errors import TeacherError
from kdjax.train.served.endpoint import Endpoint, ask
from kdjax.train.served.protocol import (
  Fault,
  TopTokens,
  read_answer,
  request,
)

# Bytes of answers that are kept for when the same text comes again.
KEPT_BYTES = 2**28


class Asker:
  """Asks one model about texts, and remembers its last answers and its first fault.

  Attributes:
    endpoint: where it is served.
    model: its name there.
    top_k: k, how many of the likeliest tokens it is asked for.
    classes: V, how many token ids there are.
  """

  def __init__(
    self,
    endpoint: Endpoint,
    model: str,
    *,
    top_k: int,
    classes: int,
    connections: int,
  ):
    self.endpoint, self.model = endpoint, model
    self.top_k, self.classes = top_k, classes
    self._workers = partial(ThreadPoolExecutor, connections, "teacher")
    self._pool = self._workers()
    self._answers: OrderedDict[bytes, Future] = OrderedDict()
    self._lock, self._fault = threading.Lock(), None

  def about(self, texts: Sequence[np.ndarray]) -> list[TopTokens]:
    """Asks about texts, each a vector of two ids or more.

    Raises:
      TeacherError: the first fault; what was not asked yet is not asked then.
    """
    try:
      return self._about(texts)
    except Exception:
      self.raise_fault()
      raise

  def rows(self, tokens: np.ndarray, documents: np.ndarray) -> tuple:
    """Asks about the documents of sequences, for use within a program.

    Args:
      tokens: (..., T) int.
      documents: (..., T) int, the number of each token's document; 0 for padding.

    Returns:
      (..., T, k), (..., T, k), (..., T): indices, log-probabilities and tail of the
      token behind each. Where there is none all tokens are equally likely; all are
      nan from a fault on, until `raise_fault` has told it.
    """
    rows = tokens.reshape(-1, tokens.shape[-1])
    places = [*documents_of(documents.reshape(rows.shape))]
    found = even(rows.shape, self.top_k, self.classes)
    try:
      texts = [rows[i, start:stop] for i, start, stop in places]
      answers = [] if self._fault else self._about(texts)
    except Exception as error:  # see `Teacher.raise_fault`
      self._fault = self._fault or error
    if self._fault is not None:
      for array in found[1:]:
        array.fill(np.nan)
      answers = places = []
    for (i, start, stop), one in zip(places, answers, strict=True):
      for array, values in zip(found, one[:3], strict=True):
        array[i, start : stop - 1] = values
    return tuple(x.reshape(*tokens.shape, *x.shape[2:]) for x in found)

  def raise_fault(self) -> None:
    """Raises the first fault since the last call."""
    fault, self._fault = self._fault, None
    if fault is not None:
      raise fault

  def _about(self, texts: Sequence[np.ndarray]) -> list[TopTokens]:
    futures = [self._asked(np.asarray(text, np.int32)) for text in texts]
    try:
      return [future.result() for future in futures]
    except Exception:
      # Nobody waits for the others, at the end of the program least of all.
      with self._lock:
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool = self._workers()
      raise

  def _asked(self, text: np.ndarray) -> Future:
    key = text.tobytes()
    with self._lock:
      future = self._answers.get(key)
      if future is None or future.cancelled() or _failed(future):
        future = self._pool.submit(self._ask, text)
        self._answers[key] = future
      self._answers.move_to_end(key)
      size = 8 * self.top_k * len(text)
      most = max(1, KEPT_BYTES // size)
      while len(self._answers) > most:
        self._answers.popitem(last=False)
      return future

  def _ask(self, text: np.ndarray) -> TopTokens:
    try:
      return self._read(text.tolist())
    except Exception as error:
      # Who waits for a text that is asked about no more finds out why.
      self._fault = self._fault or error
      raise

  def _read(self, tokens: list[int]) -> TopTokens:
    question = request(self.model, tokens, self.top_k)
    answer = ask(self.endpoint, "completions", question)
    try:
      return read_answer(answer, tokens, top_k=self.top_k, classes=self.classes)
    except Fault as fault:
      raise TeacherError(
        f"teacher {self.endpoint.url}: its answer to {len(tokens)} tokens"
        f" ({', '.join(map(str, tokens[:4]))}, ...) is none: {fault}"
      ) from None


def documents_of(documents: np.ndarray) -> Iterator[tuple[int, int, int]]:
  """Finds the documents of two tokens or more: row, first place, one past the last.

  Args:
    documents: (R, T) int, the number of each token's document; 0 for padding.

  Example:
    >>> [*documents_of(np.array([[1, 1, 2, 2, 2, 0], [1, 0, 0, 0, 0, 0]]))]
    [(0, 0, 2), (0, 2, 5)]
  """
  for i, row in enumerate(documents):
    edges = np.flatnonzero(np.diff(row, prepend=0, append=0))
    for start, stop in zip(edges[:-1], edges[1:], strict=True):
      if row[start] and stop - start > 1:
        yield i, int(start), int(stop)


def even(shape: tuple[int, ...], top_k: int, classes: int) -> tuple:
  """Answers that say nothing: all tokens are equally likely."""
  ids = np.broadcast_to(np.arange(top_k, dtype=np.int32), (*shape, top_k))
  log_probs = np.full((*shape, top_k), -np.log(classes), np.float32)
  tail = np.full(shape, np.log1p(-top_k / classes), np.float32)
  return ids.copy(), log_probs, tail


def find_model(endpoint: Endpoint) -> str:
  """Returns the name of the one model that an endpoint serves.

  Raises:
    TeacherError: where there is none, or several; names them.
  """
  answer = ask(endpoint, "models")
  try:
    names = [str(one["id"]) for one in answer["data"]]
  except (KeyError, TypeError):
    names = []
  if len(names) != 1:
    there = ", ".join(names) or "none"
    raise TeacherError(
      f"teacher {endpoint.url}: name one of its models; there is: {there}"
    )
  return names[0]


def _failed(future: Future) -> bool:
  return future.done() and future.exception() is not None
