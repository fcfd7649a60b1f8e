"""Records as the server checks them, and the states that merging makes of them. Knows no HTTP and no database."""
