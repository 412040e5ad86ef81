"""One file for each command of the command line.

Commands import torch and what stands on it when they run, so that `--help` answers at once.
"""
