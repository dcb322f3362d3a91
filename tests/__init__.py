"""Everything that is checked about surveil; the folders mirror the package."""
