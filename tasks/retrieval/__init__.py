"""S-BERT training, its evaluation, and finding the memory for a message."""
