"""The server as processes: sockets, workers, start and stop."""
