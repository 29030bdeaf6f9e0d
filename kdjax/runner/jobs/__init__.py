"""What `launch.py` can be asked to do, a file or a folder each."""
