"""X-Ray."""
