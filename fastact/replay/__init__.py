"""Reading a log back: filters, merged ranks, live tails, exports, and the same diagnosis as the live run's."""
