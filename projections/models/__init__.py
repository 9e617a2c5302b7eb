"""The read models, one a file: its tables, the fold that fills them and the queries over them."""
