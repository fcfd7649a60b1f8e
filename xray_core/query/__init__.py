"""Asking an X-Ray server: the Python client and the HTTP reader under it."""
