"""Grades work that nobody has to trust: it runs in a worker process, and is judged outside it."""
