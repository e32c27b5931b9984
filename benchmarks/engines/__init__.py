"""The same measurements on each engine, beside the peers that use the same server."""
