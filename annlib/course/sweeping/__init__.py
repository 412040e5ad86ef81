"""One notebook, many parameters: the grid, its runs, and one table of what came out."""
