"""Checkpoints, resuming, preemption, and steps that are not finite."""
