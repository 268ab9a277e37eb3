"""Read images from tables, shards and sequences of records."""
