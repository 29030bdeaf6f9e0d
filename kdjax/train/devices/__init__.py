"""Where arrays live, and what devices and processes tell each other."""
