"""Capture: what runs, steps and their decisions become records through. The hot path is `Step.reject`. Knows no network."""
