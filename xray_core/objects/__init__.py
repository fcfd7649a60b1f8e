"""Users' objects: read without running their code, made bounded and redacted JSON, and fingerprinted by value."""
