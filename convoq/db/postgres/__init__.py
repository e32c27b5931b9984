"""The conversation store on PostgreSQL: the same units and the same SQL as on SQLite, for any number of machines."""
