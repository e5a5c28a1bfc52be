"""The PyTorch twins of the models, one file each."""
