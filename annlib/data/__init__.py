"""Files and procedural scenes -> tensors."""
