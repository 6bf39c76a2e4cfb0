"""Losses that compare each node's features in the student with those in the teacher."""
