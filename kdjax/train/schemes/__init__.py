"""Who learns from whom: offline, mutual, mean teacher, codistillation."""
