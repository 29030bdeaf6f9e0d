"""A trained network alone, in formats that other programs run.

signature.py    stored pixels -> logits, from a spec and variables
user_export.py  a network of a user's own: `kdjax.export`
agreement.py    whether a file answers as its network does
formats.py      how each format is written, and read by its own runtime
onnx.py         ONNX: written by jax2onnx, run by onnxruntime
untrusted.py    files from elsewhere are read as data, never run
"""
