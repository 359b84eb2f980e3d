"""Loop, stages, losses, checkpoints, what is recorded."""
