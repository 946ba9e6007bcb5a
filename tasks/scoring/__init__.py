"""What is measured: answers, the accuracy matrix, perplexity, the gate."""
