# Nothing is compiled here.
