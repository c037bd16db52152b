"""Commands of the lake: migration to another number of buckets."""
