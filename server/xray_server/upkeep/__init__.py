"""Work beside requests: export, import and retention, asked of the Store protocol."""
