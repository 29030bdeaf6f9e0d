"""`launch.py evaluate`: a language model on texts."""
