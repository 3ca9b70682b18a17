"""What a caller can give: arrays, files, folders, stored objects."""
