"""Loop, stages, losses, checkpoints, scalars."""
