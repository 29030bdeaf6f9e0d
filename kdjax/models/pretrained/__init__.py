"""Weights of others: read, renamed, checked.

read.py      a file or folder -> the variables of one of our networks
files.py     safetensors: one, a folder, or shards with their index
published.py what a config beside them says, held to the network
layouts.py   which of their names are ours; vit.py and bert.py, of transformers
minilm.py    a pretrained sentence embedder from an installed package
"""

from kdjax.models.pretrained.load import Pretrained, load, save

__all__ = ["Pretrained", "load", "save"]
