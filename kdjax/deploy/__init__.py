"""A trained network alone, in formats that other programs run.

network.py   stored pixels -> logits, from a spec and variables
stored.py    the network of a finished run, and the images that it is held to
formats.py   how each format is written, and read by its own runtime
graph.py     ONNX: written by jax2onnx, run by onnxruntime
parity.py    whether what was written is the network that was measured
card.py      what the network is: card.json and MODEL_CARD.md
export.py    the hallway of `launch.py export`
load.py      what was exported, read back
"""
