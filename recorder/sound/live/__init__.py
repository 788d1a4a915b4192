"""Sound as it happens, or as if it did: microphones, their clocks and troubles, replay."""
