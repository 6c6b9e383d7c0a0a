"""Reports of one day, for whoever keeps the books or must keep the records: what each is made of, and what it lacks."""
