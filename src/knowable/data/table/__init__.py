"""Delta tables: verified files, atomic commits, versions."""
