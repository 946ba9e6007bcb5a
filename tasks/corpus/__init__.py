"""Reading and checking slices; the Cartesian pairs; the LM's examples; held-out splits."""
