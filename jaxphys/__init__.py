"""jaxphys: physical laws as losses, for training molecular models where labels run out."""
