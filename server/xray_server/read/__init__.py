"""Read models: questions about runs, steps and items, answered from the Store protocol. Knows no HTTP and no database."""
