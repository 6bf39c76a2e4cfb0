"""The programs themselves; the modules above launch them.

A tensor comes as a pointer to contiguous rows, followed by its counts. Sizes that a program is
compiled for are named ``block_…``.
"""
