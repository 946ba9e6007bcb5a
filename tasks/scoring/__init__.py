"""Answer scores, the accuracy matrix, perplexity, the gate, the report and its plots."""
