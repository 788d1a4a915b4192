"""One training example: what sounds in it, and what is known of each chunk and token."""
