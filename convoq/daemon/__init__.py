"""The processes: what each role is made of, how it starts and how it ends."""
