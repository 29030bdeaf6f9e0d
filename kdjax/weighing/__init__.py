"""`launch.py compress`: what each way to a small network costs and gives.

run.py         the hallway
training.py    teacher, students, pruned ones, ones in few bits, with twins
rows.py        trained networks -> the rows of the table
disturbed.py   images with noise, and shifted ones
timing.py      what a network takes of time, in jax and in onnxruntime
"""
