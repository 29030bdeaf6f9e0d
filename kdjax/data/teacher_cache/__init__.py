"""A teacher's outputs on disk: written once, read by every student.

store.py      the shards; manifest.py, what they are of; records.py, one example's
"""
