"""The command line: one file per verb. Options in, a job called, a view printed."""
