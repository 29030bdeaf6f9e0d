"""Weights of others: read, renamed, checked, written.

load.py          language models: a folder -> a network, and back
cut.py           students of some of a network's blocks; width.py, of parts of them,
                 by importance.py
adapters.py      low-rank adapters, written as PEFT reads them
new.py           decoders of their families without weights
architectures.py which of them there are; families.py and encoders.py read their
                 configs, decoders.py and bert.py know their names
tensors.py       published tensors as our parameters, and back
read.py          image networks: a file or folder -> the variables of one of ours
gguf.py          GGUF files; gguf_config.py, what they say as a config
files.py         safetensors: one, a folder, or shards with their index
published.py     what a config beside image networks says, held to the network
layouts.py       which of their names are ours; vit.py, of transformers
packages.py      networks that install as packages
"""

from kdjax.models.pretrained.cut import cut
from kdjax.models.pretrained.load import Pretrained, load, save

__all__ = ["Pretrained", "cut", "load", "save"]
