"""An endpoint that is asked over HTTP: time limits, new tries, one line for a fault."""

import http.client
import json
import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from kdjax.core.errors import TeacherError, UserError

# Where the key of an endpoint stands that wants one.
KEY = "KDJAX_TEACHER_KEY"
# Too many requests; all from 500 on is the server's own trouble.
_BUSY = 429


class Endpoint(NamedTuple):
  """Where a model is served, and how long it is waited for.

  Attributes:
    url: such as http://localhost:8000/v1.
    timeout: seconds without a byte after which a try has failed.
    tries: of each request.
    wait: seconds before the second try; each wait is twice the one before.
    say: is told once in a while why there is another try.
  """

  url: str
  timeout: float = 60.0
  tries: int = 5
  wait: float = 1.0
  say: Callable[[str], Any] = print


class _NotNow(Exception):
  """What another try may mend."""


def is_url(where: Any) -> bool:
  """Says whether a text names an endpoint.

  Example:
    >>> is_url("http://localhost:8000/v1"), is_url("SmolLM2-135M")
    (True, False)
  """
  return isinstance(where, str) and where.startswith(("http://", "https://"))


def check_url(url: Any) -> str:
  """Returns a URL without the slash at its end.

  Raises:
    UserError: for what is none, and for one that holds a password: a key has its
      place in the environment, which no log tells.

  Example:
    >>> check_url("http://localhost:8000/v1/")
    'http://localhost:8000/v1'
  """
  try:
    parts = urlsplit(url if is_url(url) else "")
    named = bool(parts.hostname) and parts.port != 0
  except ValueError:
    named = False
  if not named or parts.query:
    raise UserError(
      "url= takes an endpoint such as 'http://localhost:8000/v1'; got"
      f" {url if is_url(url) else repr(url)}"
    )
  if "@" in parts.netloc:
    raise UserError(
      f"url= takes no password within; the key of {parts.hostname} is read from"
      f" the environment variable {KEY}"
    )
  return url.rstrip("/")


def ask(endpoint: Endpoint, path: str, body: Any = None) -> Any:
  """Asks an endpoint, more than once where that may help.

  Connections that fail or take too long, 429 and 5xx are tried again; what else
  is no answer ends it at once.

  Args:
    path: below the URL.
    body: a JSON value to be posted; None to get what is there.

  Returns:
    The JSON value that it answers.

  Raises:
    TeacherError: names the URL, and what was got.
  """
  where = f"{endpoint.url}/{path}"
  for number in range(1, endpoint.tries + 1):
    try:
      return _once(endpoint, where, body)
    except _NotNow as error:
      reason = str(error)
    if number < endpoint.tries:
      seconds = endpoint.wait * 2 ** (number - 1)
      endpoint.say(f"{where}: {reason}; asked again in {seconds:g} s")
      time.sleep(seconds)
  times = "once" if endpoint.tries == 1 else f"{endpoint.tries} times"
  raise TeacherError(f"teacher {where}: {reason} (asked {times})")


def _once(endpoint: Endpoint, where: str, body: Any) -> Any:
  parts = urlsplit(where)
  kind = {
    "http": http.client.HTTPConnection,
    "https": http.client.HTTPSConnection,
  }[parts.scheme]
  # No redirection is followed: it could take the key elsewhere.
  connection = kind(parts.hostname, parts.port, timeout=endpoint.timeout)
  headers = {"Content-Type": "application/json"}
  if key := os.environ.get(KEY):
    headers["Authorization"] = f"Bearer {key}"
  try:
    connection.request(
      "GET" if body is None else "POST",
      parts.path,
      None if body is None else json.dumps(body),
      headers,
    )
    response = connection.getresponse()
    status, content = response.status, response.read()
  except TimeoutError:
    raise _NotNow(f"no answer within {endpoint.timeout:g} s") from None
  except (OSError, http.client.HTTPException) as error:
    raise _NotNow(_reason(error)) from None
  finally:
    connection.close()
  if status == _BUSY or status >= 500:
    raise _NotNow(f"status {status}, {_line(content)}")
  if status != 200:
    raise TeacherError(f"teacher {where}: status {status}, {_line(content)}")
  try:
    return json.loads(content)
  except ValueError:
    raise TeacherError(
      f"teacher {where}: its answer is no JSON: {_line(content)}"
    ) from None


def _reason(error: Exception) -> str:
  """What went wrong with a connection, without its address, which is said."""
  text = getattr(error, "strerror", None) or str(error) or type(error).__name__
  return text[0].lower() + text[1:].split("\n")[0]


def _line(content: bytes) -> str:
  """The beginning of what was answered, in one line."""
  text = " ".join(content.decode("utf-8", "replace").split())
  if key := os.environ.get(KEY):
    text = text.replace(key, KEY)
  return repr(text if len(text) <= 120 else f"{text[:120]}...")
