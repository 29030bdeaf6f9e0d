"""An OpenAI-style endpoint on this machine, of a decoder that numpy computes."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jax.numpy as jnp
import numpy as np

VOCABULARY = 11


def weights(vocabulary=VOCABULARY, seed=0):
  """Of a decoder that sees the mean of all tokens so far, and the last one."""
  draw = np.random.default_rng(seed)
  shapes = {"mean": (vocabulary, 8), "last": (vocabulary, 8)}
  shapes["kernel"] = (8, vocabulary)
  return {
    "params": {
      name: draw.normal(size=shape).astype(np.float32)
      for name, shape in shapes.items()
    }
  }


def logits(params, tokens, segments, np=np):
  """(T, V) of a sequence of documents, by numpy or by jax."""
  one = np.eye(len(params["mean"]), dtype=np.float32)[tokens]
  places = np.arange(len(tokens))
  before = places[:, None] >= places[None]
  sees = before & (segments[:, None] == segments[None])
  mean = (sees / sees.sum(1, keepdims=True)).astype(np.float32)
  hidden = mean @ (one @ params["mean"]) + one @ params["last"]
  return np.tanh(hidden) @ params["kernel"]


def apply(variables, inputs, *, train=False, rngs=None):
  """The same decoder as a network of the library."""
  tokens = inputs["tokens"]
  segments = inputs.get("segments", jnp.ones_like(tokens))
  rows = [
    logits(variables["params"], *row, np=jnp)
    for row in zip(tokens, segments, strict=True)
  ]
  return jnp.stack(rows)


def log_probabilities(variables, tokens):
  """(T, V) of one document, in float64."""
  ids = np.asarray(tokens)
  x = logits(variables["params"], ids, np.ones_like(ids)).astype(float)
  x -= x.max(1, keepdims=True)
  return x - np.log(np.exp(x).sum(1, keepdims=True))


def answer(variables, question):
  """What vLLM answers to a request with `prompt_logprobs`."""
  tokens, rows = question["prompt"], [None]
  before = log_probabilities(variables, tokens)
  for row, token in zip(before, tokens[1:], strict=False):
    top = np.argsort(-row, kind="stable")[: question["prompt_logprobs"]]
    ids = dict.fromkeys([*top.tolist(), token])
    rows.append({str(i): {"logprob": float(row[i]), "rank": 1} for i in ids})
  return {"choices": [{"text": "", "prompt_logprobs": rows}]}


class Stub:
  """A served decoder.

  Attributes:
    url: of the endpoint.
    asked: the requests so far, and the headers of the last one.
    faults: is shown a request's number from 0 and its answer -> what is answered
      instead: (status, bytes), a JSON value, or None for nothing at all.
  """

  def __init__(self, variables):
    self.variables, self.asked, self.headers = variables, [], {}
    self.fault = lambda number, answer: answer
    self.lock = threading.Lock()
    self.url = ""

  def reply(self, question):
    with self.lock:
      number = len(self.asked)
      self.asked.append(question)
    reply = self.fault(number, answer(self.variables, question))
    if not isinstance(reply, tuple | None):
      reply = 200, json.dumps(reply).encode()
    return reply


@contextlib.contextmanager
def serve(variables):
  """Serves a decoder on a free port of this machine."""
  stub = Stub(variables)

  class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
      self.send(200, b'{"data": [{"id": "stub"}]}')

    def do_POST(self):
      size = int(self.headers["Content-Length"])
      stub.headers = dict(self.headers)
      reply = stub.reply(json.loads(self.rfile.read(size)))
      if reply is not None:
        self.send(*reply)

    def send(self, status, content):
      self.send_response(status)
      self.send_header("Content-Length", str(len(content)))
      self.end_headers()
      with contextlib.suppress(OSError):
        self.wfile.write(content)

    def log_message(self, *_):
      pass

  server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
  server.daemon_threads = True
  stub.url = f"http://127.0.0.1:{server.server_port}/v1"
  thread = threading.Thread(target=server.serve_forever, args=[0.01])
  thread.start()
  try:
    yield stub
  finally:
    server.shutdown()
    server.server_close()
    thread.join()
