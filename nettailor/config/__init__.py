"""How recipes are read, checked, overridden and named. Settings themselves live with what they set."""
