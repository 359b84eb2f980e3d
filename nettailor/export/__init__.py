"""A compact net in another format, and the proof that it answers the same."""
