"""What an exported network is: card.json for programs, MODEL_CARD.md for people."""

import importlib.metadata
from collections.abc import Mapping
from typing import Any

import jax

from kdjax import data, evaluate
from kdjax.data.images import pixels
from kdjax.models.export.agreement import TOLERANCE
from kdjax.runner.config import Export
from kdjax.runner.jobs.export.read_run import StoredNetwork
from kdjax.runner.report import formats, reading, text, verdicts
from kdjax.runner.system import environment

CARD, PAGE = "card.json", "MODEL_CARD.md"
UNSTATED = "not stated"
# What a network's entry in results.json says of every seed.
SCORES = {
  "test_accuracy": "accuracy",
  "negative_log_likelihood": "negative log-likelihood, nats",
  "calibration_error": "calibration error",
  "agreement": "agreement with the teacher",
}
LIMITS = (
  "Its scores are those on images like the ones that it was trained on. How it"
  " does under noise, shifts or on other sources was not measured here.",
  "A student takes over what its teacher gets wrong, too.",
)
LIMITS_OF_CLASSES = (
  "It knows the classes above and no others: whatever it is shown becomes one of"
  " them.",
  LIMITS[0],
  "Its probabilities (softmax of the logits) are as trustworthy as the"
  " calibration error says, on such images.",
  LIMITS[1],
)


def describe(
  network: StoredNetwork,
  settings: Export,
  checks: Mapping[str, Any],
  command: str,
) -> dict[str, Any]:
  """Says all that is known of an exported network, as it stands in card.json.

  Args:
    checks: scores and differences by format, and of the "linen" network.
  """
  results, scores = network.run.results, network.scores
  score, task = reading.right_of(results), network.task
  checks = dict(checks)
  linen = checks.pop("linen")
  teacher = results["teacher"] or {}
  return {
    "task": task.name,
    "network": {
      "which": settings.network,
      **network.about._asdict(),
      **_output_shape(network),
      "parameters": evaluate.parameters(network.variables["params"]),
      "seed": scores.get("seeds", [*range(settings.member + 1)])[
        settings.member
      ],
      "digest": scores["digest"][settings.member],
    },
    "input": _input(network),
    "teacher": {
      name: teacher[name]
      for name in ("model", "parameters", score.key)
      if name in teacher
    },
    "objective": results["objective"],
    "regime": network.run.experiment.distillation.regime,
    "run": {"name": results["name"], "command": results["command"]},
    "export": command,
    "data": _data(network),
    "scores": {
      name: {"this": scores[name][settings.member], "seeds": scores[name]}
      for name in dict.fromkeys((score.key, *task.metrics, *SCORES))
      if name in scores
    },
    score.name: linen[score.name],
    f"reported_{score.name}": linen["reported"],
    "tolerance": TOLERANCE,
    "formats": checks,
    "headline": verdicts.headline(results),
    "versions": {
      "trained with": _versions(results["environment"]),
      "exported with": _versions(environment.describe(jax.devices()))
      | {"jax2onnx": _version("jax2onnx")},
    },
    "limits": LIMITS_OF_CLASSES if task.kind == "categories" else LIMITS,
  }


def _output_shape(network: StoredNetwork) -> dict[str, Any]:
  """The shape of an answer that is more than one row; nothing of others."""
  (output,) = network.signature.outputs
  return {"output_shape": list(output.shape)} if output.shape[1:] else {}


def page(card: Mapping[str, Any]) -> str:
  """Writes a card for people."""
  network = card["network"]
  lines = [
    f"# {network['which'].capitalize()}: {network['model']}\n",
    f"{card['headline']}\n",
    "## What goes in, what comes out\n",
    *_input_lines(network, card["input"]),
    "## Where it comes from\n",
    *_origin(card),
    "## Scores\n",
    _scores(card),
    "## Files\n",
    _files(card),
    "## Limits\n",
    *(f"- {line}" for line in card["limits"]),
    "\n## Versions\n",
    *(
      f"- {when}: "
      + ", ".join(f"{name} {version}" for name, version in versions.items())
      for when, versions in card["versions"].items()
    ),
  ]
  return "\n".join(lines) + "\n"


def _data(network: StoredNetwork) -> dict[str, Any]:
  settings = network.run.experiment.data
  noun = network.dataset.noun
  split = (
    f"held-out training {noun}s" if settings.validation else f"test {noun}s"
  )
  return {
    "name": network.dataset.name,
    "notes": list(network.dataset.notes),
    "licence": network.licence or UNSTATED,
    "fingerprint": network.run.results["fingerprints"]["shown"],
    "scored": f"{len(network.scored.labels):,} {split}",
    "scored_fingerprint": data.fingerprint(network.scored),
    "more": f"{len(network.more.labels):,} training {noun}s",
    "settings": vars(settings),
  }


def _input(network: StoredNetwork) -> dict[str, Any]:
  """How a file or a text becomes what the network takes, as it did in training."""
  about, settings = network.about, network.run.experiment.data
  if isinstance(about.image_shape, Mapping):
    return {"arrays": list(about.image_shape), **network.dataset.facts}
  height, width, channels = about.image_shape
  statistics = getattr(about.module(), "statistics", None)
  byte = about.dtype == "uint8"
  return {
    "orientation": "upright, as its EXIF says",
    "background": list(pixels.colour(settings.background)),
    "mode": {1: "L", 3: "RGB"}.get(channels, f"{channels} channels"),
    "crop": "middle square" if height == width else "none",
    "size": [height, width],
    "filter": "bilinear",
    "values": [0, 255] if byte else "as stored",
    "dtype": about.dtype,
    "inside": {
      "scale": "to [0, 1]" if byte else "none",
      "crop_size": about.crop_size,
      "mean": statistics and list(statistics.mean),
      "deviation": statistics and list(statistics.deviation),
    },
  }


def _photo(image: Mapping[str, Any]) -> str:
  """The same for people."""
  height, width = image["size"]
  crop = (
    f"its middle square, scaled to {height} x {width} by Pillow's bilinear"
    " filter (with antialiasing)"
    if height == width
    else f"{height} x {width} pixels, as they are"
  )
  inside = image["inside"]
  standard = (
    f"mean {inside['mean']} and deviation {inside['deviation']}, of pixels in"
    " [0, 1]"
    if inside["mean"]
    else "no mean and deviation"
  )
  return (
    f"- From a photo: turned upright as its EXIF says, laid over"
    f" {tuple(image['background'])} where it is transparent, made {image['mode']},"
    f" then {crop}. JPEGs are decoded with Pillow's `draft` at that size. Nothing"
    f" else: the network has {standard} inside. `examples/serve_onnx.py` does this."
  )


def _input_lines(
  network: Mapping[str, Any], image: Mapping[str, Any]
) -> list[str]:
  if isinstance(network["image_shape"], Mapping):
    return [*_arrays(network, image), *_outputs(network)]
  height, width, channels = network["image_shape"]
  byte = network["dtype"] == "uint8"
  size = network["crop_size"]
  inside = [
    "scaling to [0, 1]" if byte else "",
    f"the middle {size} x {size}" if size else "",
    "whatever the model's spec normalises",
  ]
  return [
    f"- Input `images`: (batch, {height}, {width}, {channels}) {network['dtype']},"
    f" {'pixels 0..255' if byte else 'as stored'}; any batch size.",
    f"- Inside: {', '.join(filter(None, inside))}.",
    *([_photo(image)] if byte else []),
    *_outputs(network),
  ]


def _arrays(network: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
  """What inputs by name are, and how texts become them."""
  lines = [
    f"- Input `{name}`: (batch, {', '.join(map(str, shape))})"
    f" {network['dtype'][name]}; any batch size."
    for name, shape in network["image_shape"].items()
  ]
  if "sequence_length" in facts:
    lines.append(
      "- From a text: `tokenizer.json` of this folder makes its tokens, with those"
      f" that it puts around a text, {facts['sequence_length']} at most in training;"
      " rows of a batch are filled up to one length, at which `mask` is false. Any"
      " length gives the same answers."
    )
  return lines


def _outputs(network: Mapping[str, Any]) -> list[str]:
  return [
    f"- Output `{network['output']}`: (batch, {_numbers(network)}) float32.",
    f"- {network['answers']}, in this order: {', '.join(network['class_names'])}.",
    f"- {network['parameters']:,} parameters, no regressors or projectors.\n",
  ]


def _numbers(network: Mapping[str, Any]) -> str:
  """The numbers of an answer, of an answer at every pixel their places too."""
  return ", ".join(
    map(str, network.get("output_shape") or [network["classes"]])
  )


def _origin(card: Mapping[str, Any]) -> list[str]:
  teacher, network, images = card["teacher"], card["network"], card["data"]
  score = reading.right_of(card)
  teacher_line = "nobody"
  if teacher:
    teacher_line = teacher.get("model", "unknown")
    # What somebody else's cache does not say is not known.
    if teacher.get(score.key) is not None:
      text = written(score, teacher[score.key])
      teacher_line += f", {score.words.title} {text}"
  return [
    f"- Teacher: {teacher_line}.",
    f"- Objective: `{card['objective']}`; scheme `{card['regime']}`.",
    f"- Seed {network['seed']} of"
    f" {len(card['scores'][score.key]['seeds'])}, as the export's command"
    " asks; the first by default, whatever its score.",
    f"- Data: {'; '.join((images['name'], *images['notes']))}; licence:"
    f" {images['licence']}; sha256 of the"
    f" training images `{images['fingerprint'][:16]}`, scored on"
    f" {images['scored']}.",
    f"- Run: `{card['run']['command']}`",
    f"- Export: `{card['export']}`",
    f"- sha256 of the parameters: `{network['digest']}`\n",
  ]


def _scores(card: Mapping[str, Any]) -> str:
  score = reading.right_of(card)
  titles = SCORES | {score.key: score.words.title}
  rows = tuple(
    (
      titles.get(name, name.replace("_", " ")),
      f"{one['this']:.4f}",
      formats.with_spread(one["seeds"], 4),
    )
    for name, one in card["scores"].items()
  )
  exported, reported = (
    written(score, card[name])
    for name in (score.name, f"reported_{score.name}")
  )
  get = f"get {exported} of the {card['data']['scored']} right"
  if score != reading.RIGHT:
    get = (
      f"have a {score.words.title} of {exported} on {card['data']['scored']}"
    )
  note = f"The files compute in float32 and {get}; the run reported {reported}."
  return text.to_markdown(
    text.Table(
      "On the images that counted in the run",
      ("Score", "This seed", "All seeds"),
      rows,
      (note,),
    )
  )


def written(score: reading.Score, values: Any) -> str:
  """Writes scores with their unit: "97.00 %"."""
  text = formats.with_spread(score.shown(values), score.digits)
  return f"{text} {score.words.unit}".rstrip()


def _files(card: Mapping[str, Any]) -> str:
  score, output = reading.right_of(card), card["network"]["output"]
  same = "class" if card["network"]["answers"] == "Classes" else "answers"
  rows = tuple(
    (
      name,
      one["file"],
      f"{one['bytes']:,}",
      one["runtime"],
      f"{one['images']:,} of {one['images']:,}",
      f"{one['largest_difference']:.1e}",
      written(score, one[score.name]),
    )
    for name, one in card["formats"].items()
  )
  note = (
    "Each file was read back by its own runtime and compared with the linen"
    f" network on {card['data']['scored']} and {card['data']['more']}: the same"
    f" {same} for all, or there would be no file. Differences of {output} are a"
    f" share of the largest {output.removesuffix('s')}; {card['tolerance']:.0e} is the most that is allowed."
    " SHA256SUMS holds the digest of every file."
  )
  return text.to_markdown(
    text.Table(
      "Files",
      (
        "Format", "File", "Bytes", "Read by", f"Same {same}", "Difference",
        score.words.title.capitalize(),
      ),
      rows,
      (note,),
    )
  )  # fmt: skip


def _versions(environment: Mapping[str, Any]) -> dict[str, str]:
  names = ("jax", "flax", "orbax-checkpoint", "safetensors", "onnx")
  names += ("onnxruntime", "python", "platform", "git")
  return {name: environment[name] for name in names if environment.get(name)}


def _version(package: str) -> str | None:
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return None
