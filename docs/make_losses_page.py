"""Writes docs/losses.md from the docstrings and docs/losses.toml.

python docs/make_losses_page.py           writes the page
python docs/make_losses_page.py --check   exits 1 if the page is out of date
"""

import inspect
import pathlib
import re
import sys
import textwrap
import tomllib

HERE = pathlib.Path(__file__).parent
PAGE = HERE / "losses.md"
SECTIONS = ("Args", "Returns", "Raises", "Example", "Source")

INTRODUCTION = """\
# Losses: every function with its formula, shapes, paper and an example

    python -m examples.use_losses_anywhere

trains with some of them in a loop of its own. *Written by
`python docs/make_losses_page.py` from the docstrings; edit those.*

`kdjax.losses` holds pure functions of arrays and needs jax alone. All are called
`f(student, teacher, [labels, ...], *, hyper-parameters)` and return one array: one
value an example (or a position) where the maths allows, one number for the batch
where examples interact. Reducing is yours: `loss.mean()`, or `masked_mean(loss,
mask)`. The teacher is a constant inside every loss; `crd` and
`correlation_congruence` are the two exceptions. Half precision is computed in
float32, float64 stays float64. What extremes give is on [the page about
numbers](numerics.md).

Shapes: `n` examples, `C` classes or channels, `D` features, `NHWC` maps, `V` views,
`G` global views, `K` teachers, `H` heads, `Q` queries, `K` keys. "Held to" names the
published code whose values and gradients the loss is tested against, over golden
cases in float32 and float64; "formula" means that no published code could be run.

Shapes that do not fit, temperatures and weights out of range and unknown words raise
a `ValueError` at trace time, which names the function, the argument and what it got.
"""

LARGE = """\
## Large vocabularies

`kdjax.losses.chunked` has these of hidden states and output heads, for vocabularies
whose logits do not fit into memory; see [the page about them](large_vocabularies.md).
All take `student_hidden, student_head, teacher_hidden, teacher_head` and, by keyword,
those of the table and {shared}.
"""

PEERS = """\
## Coming from other libraries

`mean(...)` is over what the function returns. The factor says what to multiply the
*other* library's value by to get that of kdjax.
"""

WEIGHTS = """\
Weights published with these scales (RepDistiller and mdistiller, CIFAR-100), usable
unchanged: `kd` 0.9 with 0.1 on the labels, `fitnet` 100, `attention_transfer` 1000
(summed over stages), `similarity_preserving` 3000,
`correlation_congruence(kernel="consecutive", normalize=False)` 0.02, `vid` 1, `rkd` 1,
`pkt` 30000, `attention_transfer(distance="l1")` on factors 200,
`fsp(pool="avg", reduce="mean")` 50, `nst` 50, `crd` 0.8, `ofd` 0.001, `dkd` alpha 1 and
beta 8 with 20 warm-up epochs, `review_kd` 1 with 20 warm-up epochs.

Not reproduced on purpose, all in torchdistill 1.1.5: `FSPLoss` sums the norms of the
columns; `SPKDLoss` sets the norm's order where it means the axis, so that rows are
L1-normalised; `DISTPlusLoss` adds the correlation itself instead of one minus it, so
that identical features score 1.
"""


def parse(function) -> dict[str, str]:
  """Returns {section: text} of a docstring; "" holds what precedes them."""
  results, section = {"": []}, ""
  for line in inspect.getdoc(function).splitlines():
    if line.rstrip(":") in SECTIONS and line.endswith(":"):
      section = line.rstrip(":")
      results[section] = []
    else:
      results[section].append(line)
  return {
    key: textwrap.dedent("\n".join(lines)).strip()
    for key, lines in results.items()
  }


def formula_of(doc: dict[str, str]) -> str:
  return doc[""].split("\n\n")[1]


def paper_of(doc: dict[str, str]) -> str:
  """Returns the first source's authors and year, or its first sentence."""
  text = " ".join(doc["Source"].split())
  return re.match(r".*?\b(?:19|20)\d\d\b|.*?(?=[.;]|$)", text)[0]


def row(*cells: str) -> str:
  return "| " + " | ".join(x.replace("|", r"\|") for x in cells) + " |"


def table(*heads: str) -> list[str]:
  return [row(*heads), row(*("---",) * len(heads))]


def code(text: str) -> str:
  return f"`{' '.join(text.split())}`"


def overview(entries, functions) -> list[str]:
  lines = ["## Overview", ""]
  lines += table("function", "in → out", "formula", "paper", "held to")
  family = None
  for entry in entries:
    if entry["family"] != family:
      family = entry["family"]
      lines.append(row(f"**{family}**", "", "", "", ""))
    doc = parse(functions[entry["name"]])
    lines.append(
      row(
        f"[`{entry['name']}`](#{entry['name']})",
        code(entry["shapes"]),
        code(formula_of(doc)),
        paper_of(doc),
        entry["held_to"],
      )
    )
  return [*lines, ""]


def arguments(text: str) -> list[str]:
  """Returns the Args section as a list, one argument an item."""
  items = re.split(r"\n(?=\w+: )", text)
  pairs = (" ".join(item.split()).split(": ", 1) for item in items)
  return [f"- `{name}`: {meaning}" for name, meaning in pairs]


def signature(name: str, function) -> str:
  parts, starred = [], False
  for parameter in inspect.signature(function).parameters.values():
    if parameter.kind is parameter.KEYWORD_ONLY and not starred:
      parts.append("*")
      starred = True
    default = parameter.default
    given = "" if default is parameter.empty else f"={default!r}"
    parts.append(parameter.name + given)
  return f"{name}({', '.join(parts)})"


def section(name: str, function, aliases: list[str]) -> list[str]:
  doc = parse(function)
  summary, formula, *more = doc[""].split("\n\n")
  also = f" Also `{'`, `'.join(aliases)}`." if aliases else ""
  lines = [f"### {name}", "", code(signature(name, function)), ""]
  lines += [summary + also, "", "```text", formula, "```", ""]
  for paragraph in more:
    lines += [" ".join(paragraph.split()), ""]
  lines += [*arguments(doc["Args"]), ""]
  lines += [f"*Returns:* {' '.join(doc['Returns'].split())}", ""]
  lines += ["```pycon", doc["Example"], "```", ""]
  return [*lines, f"*Source:* {' '.join(doc['Source'].split())}", ""]


def large(chunked) -> list[str]:
  """Returns the section about the losses from hidden states and heads."""
  keywords = {
    name: [
      key if x.default is x.empty else f"{key}={x.default!r}"
      for key, x in inspect.signature(getattr(chunked, name)).parameters.items()
      if x.kind is x.KEYWORD_ONLY
    ]
    for name in chunked.__all__
    if not isinstance(getattr(chunked, name), type)
  }
  common = set.intersection(*map(set, keywords.values()))
  shared = ", ".join(f"`{x}`" for x in keywords["kd"] if x in common)
  lines = [LARGE.format(shared=shared), *table("function", "its own keywords")]
  for name, all_of_them in keywords.items():
    own = ", ".join(f"`{x}`" for x in all_of_them if x not in common)
    lines.append(row(f"`chunked.{name}`", own))
  return [*lines, ""]


def page(losses) -> str:
  """Returns the whole page; raises if a loss and its entry do not pair up."""
  data = tomllib.loads((HERE / "losses.toml").read_text())
  entries = data["loss"]
  exported = {name: getattr(losses, name) for name in losses.__all__}
  functions = {f.__name__: f for f in exported.values()}
  odd = set(functions) ^ {entry["name"] for entry in entries}
  if odd:
    raise SystemExit(
      f"docs/losses.toml and the exports differ in {sorted(odd)}"
    )
  lines = [INTRODUCTION, *overview(entries, functions)]
  family = None
  for entry in entries:
    name = entry["name"]
    if entry["family"] != family:
      family = entry["family"]
      lines += [f"## {family}", ""]
    function = functions[name]
    names = [key for key, f in exported.items() if f is function]
    lines += section(name, function, sorted(set(names) - {name}))
  lines += large(losses.chunked)
  lines += [PEERS, *table("other library", "kdjax", "factor")]
  for peer in data["peer"]:
    lines.append(row(peer["theirs"], peer["ours"], peer["factor"]))
  return "\n".join([*lines, "", WEIGHTS])


def main():
  sys.path.insert(0, str(HERE.parent))
  from kdjax import losses

  text = page(losses)
  if "--check" not in sys.argv[1:]:
    PAGE.write_text(text)
  elif not PAGE.exists() or PAGE.read_text() != text:
    sys.exit("docs/losses.md is out of date: python docs/make_losses_page.py")


if __name__ == "__main__":
  main()
