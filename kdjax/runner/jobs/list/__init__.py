"""`launch.py list`: what there is to choose from."""
