"""Logits -> numbers: training, inference, scores."""
