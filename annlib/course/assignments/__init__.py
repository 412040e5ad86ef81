"""The assignments: their public checks, and the hidden ones. Students get the public ones only."""
