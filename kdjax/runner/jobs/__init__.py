"""What `launch.py` can be asked to do, a file or a folder each.

A new job is one new file: `JOB = Job(...)` in it is found, and is a command.
"""
