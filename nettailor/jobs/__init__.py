"""What a verb does from start to end."""
