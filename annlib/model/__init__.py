"""Tensors -> logits."""
