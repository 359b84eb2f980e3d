"""What lies on disk: run folder, delta, report, model card, cost table, front, board; schema, reading and writing."""
