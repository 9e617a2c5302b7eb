"""How read models are stored: table columns, rows and their history, schemas, progress and bulk loading."""
