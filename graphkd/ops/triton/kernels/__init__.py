"""The Triton programs themselves; the modules one level up launch them.

A tensor comes as a pointer to contiguous rows, followed by its counts. The sizes that a program is
compiled for are named ``block_…``.
"""
