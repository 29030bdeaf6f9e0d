"""`launch.py compare`: many methods beside each other, each searched alike."""
