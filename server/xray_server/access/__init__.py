"""Who may ask what: keys, sessions, rates and the decision to admit a request. Knows no database and no page."""
