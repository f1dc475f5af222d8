"""A competition's files as downloaded: folders and archives, tables, and which image belongs to which row."""
