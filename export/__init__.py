"""From a checkpoint to a model bundle that the recorder loads (extra `train`)."""
