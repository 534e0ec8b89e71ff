"""A page over the database: questions, SQL, entities, and the sentences behind each row."""
