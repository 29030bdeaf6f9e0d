"""`launch.py compress`: what each way to a small network costs and gives.

job.py         the command as its stages
training.py    teacher, students, pruned ones, ones in few bits, with baselines
measure.py     trained networks -> the rows of the table
perturb.py     images with noise, and shifted ones
timing.py      what a network takes of time, in jax and in onnxruntime
"""
