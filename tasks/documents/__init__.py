"""What people have: pages of Markdown, text, HTML or PDF; and what a slice can be made of from them."""
