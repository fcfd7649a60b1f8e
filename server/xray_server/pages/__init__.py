"""The HTML pages: what they show, made of read models. Knows no database."""
