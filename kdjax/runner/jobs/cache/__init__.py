"""`launch.py cache`: what a teacher makes of every view of every image."""
