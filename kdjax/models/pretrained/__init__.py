"""Weights of others: read, renamed, checked."""
