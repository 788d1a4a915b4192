"""From scenes to a checkpoint, and from checkpoints to the next."""
