"""Programs for those who work on surveil; nothing here is installed."""
