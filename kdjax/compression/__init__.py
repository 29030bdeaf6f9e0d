"""Small students: weights in few bits, and weights that are not there.

quantize   networks that compute, and are stored, in few bits
prune      the smallest weights become zero while a network learns
pack       what of the two a file holds, and how many bytes that is
"""
