"""Many small trainings in one program."""
