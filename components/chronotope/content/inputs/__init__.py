"""Reading of the content of items, from sources that anybody may have written."""
