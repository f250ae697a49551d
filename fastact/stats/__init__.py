"""What a sweep says, as values that merge, and the functions that people call on buffers."""
