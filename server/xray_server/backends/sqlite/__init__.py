"""The embedded store: one SQLite file. Knows no other backend."""
