"""Flights out of New York in 2013: a traveller asks for the Los Angeles area, and one day is sent to Buffalo."""
