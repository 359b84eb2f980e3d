"""One home per method: settings, build, train, what it measures. A new method is a new file here."""
