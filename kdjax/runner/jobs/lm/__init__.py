"""`lm`: a language model teaches a smaller one, on texts."""
