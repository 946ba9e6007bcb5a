"""The language model: base and tokenizer, batches, the one training loop, checkpoints, methods."""
