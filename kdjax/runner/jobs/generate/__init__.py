"""`launch.py generate`: prompts continued by a language model."""
