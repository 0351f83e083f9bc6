"""Which features and directions carry the personas, and what goes with them? The inside of a transfer run."""
