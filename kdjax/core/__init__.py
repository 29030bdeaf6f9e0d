"""Names, values and errors that every package knows."""
