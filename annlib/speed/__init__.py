"""Races: the same work done in several ways, one beside the other."""
