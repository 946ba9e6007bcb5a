"""Everything MLflow: runs, versions, aliases."""
