"""The server's commands. Imports the server only when a command runs, so that others start fast."""
