"""Speed and learning quality, measured on other data than the default timeline."""
