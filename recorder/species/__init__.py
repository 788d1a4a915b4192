"""Which birds can occur at a place: the user's own list, and how often each is met, and when."""
