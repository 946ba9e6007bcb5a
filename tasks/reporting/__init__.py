"""What is shown of the scores: tables, plots, pages."""
