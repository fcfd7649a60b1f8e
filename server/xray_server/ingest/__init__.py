"""What comes in: bodies read and checked, and the thread that commits them in groups. Knows no database and no pages."""
