"""Model shapes as data, and the same shapes as small PyTorch modules."""
