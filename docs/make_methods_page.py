"""Writes docs/methods.md from the docstrings of kdjax/methods.

python docs/make_methods_page.py           writes the page
python docs/make_methods_page.py --check   exits 1 if the page is out of date
"""

import pathlib
import sys

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from make_losses_page import arguments, paper_of, parse, row, table  # noqa: E402

from kdjax.core.spec import signature_text  # noqa: E402
from kdjax.core.task import KINDS  # noqa: E402
from kdjax.methods import FAMILIES, MAKERS, PRESETS, terms_of  # noqa: E402
from kdjax.methods.registry import READS  # noqa: E402

PAGE = HERE / "methods.md"

INTRODUCTION = """\
# Methods: what `--distillation` can train on, paper by paper

Response, feature, relational, contrastive and attention distillation, and
self-distillation; each with its formula, weights, taps and paper.

    python launch.py --distillation=crd

*Written by `python docs/make_methods_page.py` from the docstrings; edit those.*

A name alone trains on the method's published objective, the second column of the
overview; `--method_weight=3` scales all of it but the labels, `--hard_weight=0.5`
sets the labels' share. With weights,
`--distillation='crd:0.8 + kd(temperature=8):1 + ce:1'`, it is exactly what you
write. A weight is a number or a schedule: `warmup(0.1)`, `before(0.2, 100)`,
`after(0.2)`, `linear(1, 0)` are shares of the training.

`student_tap` and `teacher_tap` are [taps](taps.md): paths to whatever module of
your networks you like; `python launch.py list taps --student='resnet8'` shows them.
Networks that you leave open become a pair that has what the method looks at.
[Adding a method](add_a_method.md) is one file.

A method says which kinds of answers it *reads*: those of a [task](tasks.md) are
`categories`, `binary`, `values`, `embedding` or `gaussians`. One that reads features
alone reads all of them; a method that cannot read the task's is refused before
anything is compiled.
"""


def kind_of(maker) -> str:
  """The heading under which a method stands: what it looks at."""
  method = maker()
  looked_at = " ".join((*method.student_taps, *method.teacher_taps))
  if not method.needs_teacher:
    return "No teacher"
  if not method.teacher_taps:
    return "Answers"
  if "attention" in looked_at:
    return "Attention"
  if "head:in" in method.student_taps:
    return "Embeddings"
  return "Features"


def by_kind() -> dict[str, list[str]]:
  names = ("Answers", "Embeddings", "Features", "Attention", "No teacher")
  kinds = {name: [] for name in names}
  for name in sorted(MAKERS):
    kinds[kind_of(MAKERS[name])].append(name)
  return kinds


def objective(name: str) -> str:
  if name == "ce":
    return "`ce:1`"
  return f"`{' + '.join(map(str, terms_of(name)))}`"


def reads(name: str) -> str:
  """The kinds of answers that a method reads."""
  kinds = READS[name]
  return "all" if set(kinds) == set(KINDS) else ", ".join(kinds)


def overview(kinds) -> list[str]:
  lines = ["## Overview", ""]
  lines += table("method", "objective", "what is matched", "reads", "paper")
  for kind, names in kinds.items():
    lines.append(row(f"**{kind}**", "", "", "", ""))
    for name in names:
      doc = parse(MAKERS[name])
      summary = doc[""].split("\n\n")[0]
      lines.append(
        row(
          f"[`{name}`](#{name})",
          objective(name),
          summary.replace("\n", " ").rstrip("."),
          reads(name),
          paper_of(doc),
        )
      )
  others = {
    f"`{name}`": f"the family; stands for `{default}`"
    for name, default in FAMILIES.items()
  } | {f"`{name}`": f"preset; `{text}`" for name, text in PRESETS.items()}
  lines.append(row("**Other names**", "", "", "", ""))
  lines += [row(name, "", text, "", "") for name, text in others.items()]
  return [*lines, ""]


def section(name: str) -> list[str]:
  doc = parse(MAKERS[name])
  summary, formula, *more = doc[""].split("\n\n")
  lines = [f"### {name}", "", f"`{name}{signature_text(MAKERS[name])}`", ""]
  lines += [" ".join(summary.split()), "", "```text", formula, "```", ""]
  for paragraph in more:
    lines += [" ".join(paragraph.split()), ""]
  if "Args" in doc:
    lines += [*arguments(doc["Args"]), ""]
  if "Raises" in doc:
    lines += [f"*Raises:* {' '.join(doc['Raises'].split())}", ""]
  return [*lines, f"*Source:* {' '.join(doc['Source'].split())}", ""]


def page() -> str:
  """Returns the whole page."""
  kinds = by_kind()
  lines = [INTRODUCTION, *overview(kinds)]
  for kind, names in kinds.items():
    lines += [f"## {kind}", ""]
    for name in names:
      lines += section(name)
  return "\n".join(lines)


def main():
  text = page()
  if "--check" not in sys.argv[1:]:
    PAGE.write_text(text)
  elif not PAGE.exists() or PAGE.read_text() != text:
    sys.exit("docs/methods.md is out of date: python docs/make_methods_page.py")


if __name__ == "__main__":
  main()
