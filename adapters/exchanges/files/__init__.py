"""Export files of venues: read as they were saved, recognised by their header, and turned into venue reports."""
