"""`launch.py`: commands, settings, stages, reports; imports every other package."""
