"""WHEN and in which order: the flow over DVC's graph, publishing, the command line."""
