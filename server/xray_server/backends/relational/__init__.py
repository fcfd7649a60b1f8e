"""What the SQL backends share: everything made of rows, keys, cursors and blocks. Knows no driver and no dialect."""
