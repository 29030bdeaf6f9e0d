"""`launch.py export`: the student of a finished run, for other programs.

read_run.py   the network of a finished run, and the images that it is held to
parity.py     whether what was written is the network that was measured
card.py       what the network is: card.json and MODEL_CARD.md
job.py        the command as its stages
write.py      every format written, read back and held to the network
load.py       what was exported, read back
"""
