"""The HTTP API: parameters, routes, errors and metrics. Knows no database and no page."""
