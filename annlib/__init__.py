"""annlib: Asymmetric Non-local Neural Networks for semantic segmentation, to be read and taught."""
