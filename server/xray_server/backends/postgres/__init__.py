"""The store in a PostgreSQL database. Nothing is imported here: its driver is an extra. Knows no other backend."""
